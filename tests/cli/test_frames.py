from cli.frames import line_of

FRAME = {
    "kind": "data_up",
    "at": "2026-11-25T09:00:00.123456Z",
    "outcome": "accepted",
    "octets": 23,
    "frequency": 868_100_000,
    "spreading_factor": 7,
    "receptions": [{"gateway_id": f"0016c001ff10a23{n}", "rssi": -90.4, "snr": 7.5} for n in range(5)],
    "hidden": False,
    "dev_eui": "70b3d57ed0001234",
    "dev_addr": "01020304",
    "f_cnt": 7,
    "f_port": 2,
}


def test_a_frame_is_one_line_with_its_device_its_verdict_and_its_best_gateways() -> None:
    line = line_of(FRAME)

    assert "↑ données   accepted         70b3d57ed0001234 FCnt 7 port 2 868.1 MHz SF7 23 octets" in line
    assert "0016c001ff10a230 -90 dBm +7.5 dB" in line
    assert line.endswith("et 2 autres")


def test_a_frame_of_anothers_device_has_no_name() -> None:
    hidden = FRAME | {"hidden": True, "dev_eui": None, "dev_addr": None, "f_cnt": None, "f_port": None}

    line = line_of(hidden)

    assert "(capteur d'un autre)" in line
    assert "70b3d57ed0001234" not in line
