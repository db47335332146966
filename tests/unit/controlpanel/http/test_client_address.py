"""The client's address, as the outermost trusted proxy saw it."""

import pytest

from controlpanel.http.client_address import client_address, read_address


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:49152", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:49152", "2001:db8::7"),
        ('"[2001:db8::7]:443"', "2001:db8::7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
    ],
)
def test_ports_brackets_and_quotes_are_read(entry, address):
    assert read_address(entry) == address


@pytest.mark.parametrize(
    "entry", ["unknown", "", "_hidden", "192.0.2.7:port", "192.0.2.7:123456", "[2001:db8::7", "example.com", "1.2.3"]
)
def test_invalid_address_is_ignored(entry):
    assert read_address(entry) == ""


def test_invalid_entry_falls_back_to_the_connection():
    assert client_address("10.0.0.1", "198.51.100.9, unknown", 1) == "10.0.0.1"
    assert client_address("10.0.0.1", "198.51.100.9, 192.0.2.7:5000", 1) == "192.0.2.7"
