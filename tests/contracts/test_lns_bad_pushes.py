"""What no LNS should send, or not so fast: it is rejected, counted, and takes nothing else with it."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from tests.contracts.lns_rig import Bench, now_us
from tests.contracts.lns_samples import SAMPLES, SampleUplink


@pytest.mark.parametrize("name", SAMPLES)
async def test_whatever_is_pushed_before_the_next_uplink_is_taken(bench: Bench, name: str) -> None:
    sample, heard = SAMPLES[name], SampleUplink(now_us() - 500_000)
    device_id, source = await bench.device(heard), await bench.source(sample)
    good = sample.write(heard)
    unusable = good.body.replace(heard.dev_eui.hex().encode(), b"no eui").replace(
        heard.dev_eui.hex().upper().encode(), b"no eui"
    )
    rubbish = [b"", b"null", b"[]", b"{", b"\xff" * 100, b"[" * 100_000, good.body[:-1], good.body * 2]
    before = messages_counted(sample.kind)
    async with bench.intake(), bench.ingest():
        answers = [await bench.post(source, replace(good, body=body)) for body in rubbish]
        their_own = await bench.post(source, replace(good, body=unusable))
        taken = await bench.post(source, good)

        assert their_own.status_code == sample.unreadable_status
        assert {answer.status_code for answer in answers} == {422}
        assert all(answer.json()["detail"] for answer in answers)
        assert taken.status_code == 200
        assert (await bench.stored(1))[0]["device_id"] == device_id

    assert messages_counted(sample.kind) == before + len(rubbish)
    assert await bench.pool.fetchval("SELECT count(*) FROM observation.quarantine") == len(rubbish) + 1


def messages_counted(kind: str) -> float:
    """Those that nobody could read."""
    labels = [{"kind": kind, "result": reason} for reason in ("not_json", "not_an_object")]
    return sum(REGISTRY.get_sample_value("territoire_intake_messages_total", label) or 0.0 for label in labels)


async def test_a_source_that_pushes_too_fast_is_answered_429_and_loses_nothing(bench: Bench) -> None:
    sample, first = SAMPLES["wanesy"], SampleUplink(now_us() - 500_000)
    await bench.device(first)
    source, other = await bench.source(sample), await bench.source(sample)
    async with bench.intake(rate=1):
        frames = [replace(first, f_cnt=n) for n in range(8)]
        answers = [await bench.post(source, sample.write(frame)) for frame in frames]
        elsewhere = await bench.post(other, sample.write(first))

        throttled = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in throttled)
        assert elsewhere.status_code == 200


async def test_a_body_is_not_read_of_who_has_no_token(bench: Bench) -> None:
    source = await bench.source(SAMPLES["wanesy"])
    async with bench.intake():
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.http_port)
        head = f"POST /lns/{source.id} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        writer.write(head.encode())  # And no body, ever.
        async with asyncio.timeout(20):
            status = await reader.readline()
        writer.close()

        assert b" 401 " in status
