"""The app for Faust's own command: `faust -A services.stream.faust_app worker`; settings from the environment."""

from services.runtime.settings import StreamSettings, load
from services.stream.app import make_app

app = make_app(load(StreamSettings))
