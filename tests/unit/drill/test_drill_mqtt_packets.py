"""The devices' MQTT packets, wherever the bytes break."""

from tests.faults.drill import mqtt_packets as packets


def test_connect_takes_up_the_session_with_keepalive_expiry_and_credentials():
    head = bytes.fromhex("1019 0004 4d515454 05 c0 0005 05 11 00000e10")
    assert packets.connect("d", 5, 3600, ("u", "p")) == head + b"\0\1d\0\1u\0\1p"


def test_publish_is_qos_1_and_marks_a_repeat():
    first = packets.publish("t", 258, b"x" * 200, is_repeat=False)
    assert first == b"\x32\xce\x01\x00\x01t\x01\x02\x00" + b"x" * 200
    assert packets.publish("t", 258, b"x" * 200, is_repeat=True) == b"\x3a" + first[1:]


def test_packets_are_cut_wherever_the_bytes_break():
    stream = bytes.fromhex("200b 00 00 08 210064 2200050000 4002 0102 4003 010397 d000")
    cutter = packets.Packets()
    found = [packet for at in range(len(stream)) for packet in cutter.feed(stream[at : at + 1])]
    assert found == packets.Packets().feed(stream)
    assert [kind for kind, _ in found] == [packets.CONNACK, packets.PUBACK, packets.PUBACK, 13]
    assert packets.connack(found[0][1]) == packets.Connected(session_present=False, reason=0, receive_maximum=100)
    assert packets.puback(found[1][1]) == (258, 0)
    assert packets.puback(found[2][1]) == (259, 0x97)


def test_connack_without_a_receive_maximum_allows_all_and_passes_over_texts():
    said = packets.connack(bytes.fromhex("01 87 0c 1f 0002 6e6f 26 0001 61 0001 62"))
    assert said == packets.Connected(session_present=True, reason=0x87, receive_maximum=65535)
