"""Dead letters as a working tool: listed, shown with what would fix them, and sent again after the fix.

In: telemetry.dead-letter, and the original records on telemetry.raw while they are there. Out: text and JSON; of a
replay, a record on the topic that the letter is about, and a mark beside the letter.
Guarantee: a replay takes the path of a first message, so that it is counted, and the stream lets each reading through
once; what is marked as replayed is sent again only when that is asked for.
"""
