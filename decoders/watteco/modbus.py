"""Watteco Modbus: raw answers of the slaves (clusters 8007 and 8009; docs/decoders-formats.md, "nke Watteco").

What a register means is the installation's: answers go to `data["modbus"]`, by endpoint.
"""

from typing import Any

from decoders.canonical import MalformedPayload

MASTER_SLAVE, MULTI_MASTER_SLAVE = (0x8007, 0x0001), (0x8009, 0x0000)
_HEADER_SIZE, _ANSWER_HEADER_SIZE = 3, 3
_ENDPOINTS = 10


def read_answer(data: bytes) -> dict[str, Any]:
    """One answer, alone in its attribute. Raises MalformedPayload when its size is not what it says."""
    answer, end = _answer(data, 0)
    if end != len(data):
        raise MalformedPayload(f"octets après la réponse Modbus : {data[end:].hex()}")
    return answer


def read_answers(data: bytes) -> dict[str, Any]:
    """Several answers: a header (series, number of the frame, last frame, endpoints), then each answer."""
    if len(data) < _HEADER_SIZE:
        raise MalformedPayload(f"l'en-tête Modbus a {_HEADER_SIZE} octets, reçu {data.hex() or 'aucun'}")
    flags = int.from_bytes(data[1:3])
    answers: dict[str, Any] = {}
    position = _HEADER_SIZE
    for endpoint in range(_ENDPOINTS):
        if flags >> endpoint & 1:
            answers[str(endpoint)], position = _answer(data, position)
    if position != len(data):
        raise MalformedPayload(f"octets après la dernière réponse Modbus : {data[position:].hex()}")
    return {"series": data[0], "frame": flags >> 13 & 7, "last_frame": flags >> 10 & 7, "answers": answers}


def _answer(data: bytes, position: int) -> tuple[dict[str, Any], int]:
    start = position + _ANSWER_HEADER_SIZE
    if start > len(data) or start + data[start - 1] > len(data):
        raise MalformedPayload(f"réponse Modbus tronquée à l'octet {position} : {data.hex()}")
    slave, function, size = data[position:start]
    return {"slave": slave, "function": function, "octets": data[start : start + size].hex()}, start + size
