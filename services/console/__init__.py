"""Console: what `weir ...` does for a person, one file a command's work.

In: the supervisor's states, the services' health, the records on the topics, points in InfluxDB, settings.
Out: text, tables and JSON in the terminal; exit code 0 where all is well.
Guarantee: it looks and never touches: no offset is committed, no secret is printed, no topic is written but by
`weir dead-letter replay`. Only `weir up` and `weir down` start and stop processes, those of their own run folder.
"""
