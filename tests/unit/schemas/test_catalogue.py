import importlib
import pkgutil

import msgspec
import pytest

import schemas
from schemas import topics
from schemas.catalogue import FLOWS, RECORDS, SERVICES, tag_of


def test_every_topic_is_in_the_catalogue_once_and_in_order():
    assert [flow.topic for flow in FLOWS] == [topic.name for topic in topics.ALL]


def test_every_tagged_struct_of_the_contract_is_on_a_topic():
    modules = [importlib.import_module(f"schemas.{m.name}") for m in pkgutil.iter_modules(schemas.__path__)]
    tagged = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__struct_config__.tag
    }
    assert tagged == set(RECORDS)


def test_tags_are_unique_and_carry_a_version():
    tags = [tag_of(record) for record in RECORDS]
    assert len(set(tags)) == len(tags)
    assert all(tag.rpartition(".v")[2].isdigit() for tag in tags)


def test_only_services_write_and_read():
    assert {who for flow in FLOWS for who in flow.writers + flow.readers} <= set(SERVICES)


def test_a_struct_without_a_tag_is_refused():
    with pytest.raises(TypeError, match="has no tag"):
        tag_of(msgspec.defstruct("Untagged", [("id", str)]))
