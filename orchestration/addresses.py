"""Addresses of machines: whether somebody answers at one, and a free one."""

import socket

ANSWER_SECONDS = 10.0


def require_answer(address: str) -> None:
    """ValueError if nothing listens at host:port: Ray itself would wait for ten minutes."""
    host, separator, port = address.rpartition(":")
    if address == "auto":
        return
    if not separator or not port.isdigit() or "/" in host:
        raise ValueError(f"--address needs auto or the HOST:PORT of a Ray head, got '{address}'")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"--address {address}: no Ray head answers there ({error})") from error


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])
