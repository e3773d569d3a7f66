"""The simulated bus, as the makers' own SDKs see it, which know nothing of this program."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import dynamixel_sdk as dxl
import numpy as np
import pytest
import scservo_sdk as scs
from acclimate_bridge.bus.models import Family
from acclimate_bridge.simulation.bus.bus import Disturber
from acclimate_bridge.simulation.bus.servo import BusServo

from .serving import Bench, served

X, STS = Family.DYNAMIXEL, Family.FEETECH
TORQUE, GOAL_PWM, POSITION = 64, 100, 132


@contextlib.contextmanager
def sdk(bench: Bench, module: Any = dxl, protocol: float = 2.0, baud: int = 1_000_000) -> Iterator[Any]:
    """It waits longer for an answer than it does by itself: this computer may be busy with other tests."""
    port, packets = module.PortHandler(bench.port), module.PacketHandler(protocol)
    port.openPort()
    port.setBaudRate(baud)
    try:
        with mock.patch.object(module.port_handler, "LATENCY_TIMER", 100):  # ms
            yield port, packets
    finally:
        port.closePort()


def test_dynamixel_pings_reads_and_writes() -> None:
    with served(X, [1, 7]) as bench, sdk(bench) as (port, packets):
        assert packets.ping(port, 7) == (1200, dxl.COMM_SUCCESS, 0)
        assert packets.ping(port, 2)[1] == dxl.COMM_RX_TIMEOUT
        found, result = packets.broadcastPing(port)
        assert (sorted(found), result) == ([1, 7], dxl.COMM_SUCCESS)
        assert packets.write1ByteTxRx(port, 1, TORQUE, 1) == (dxl.COMM_SUCCESS, 0)
        assert packets.read1ByteTxRx(port, 1, TORQUE) == (1, dxl.COMM_SUCCESS, 0)
        assert packets.read4ByteTxRx(port, 1, POSITION)[0] == pytest.approx(2048, abs=3)


def test_what_a_dynamixel_refuses_has_its_number() -> None:
    with served(X, [1]) as bench, sdk(bench) as (port, packets):
        assert packets.write1ByteTxRx(port, 1, 11, 77) == (dxl.COMM_SUCCESS, 4)  # no such mode
        packets.write1ByteTxRx(port, 1, TORQUE, 1)
        assert packets.write1ByteTxRx(port, 1, 11, 16) == (dxl.COMM_SUCCESS, 7)  # locked by torque


def test_a_header_inside_of_a_packet_is_stuffed() -> None:
    def prepare(servos: dict[int, BusServo]) -> None:
        servos[1].memory[200:206] = b"\xff\xff\xfd\xff\xff\xfd"

    with served(X, [1], prepare=prepare) as bench, sdk(bench) as (port, packets):
        assert packets.readTxRx(port, 1, 200, 6)[0] == [255, 255, 253, 255, 255, 253]
        assert packets.writeTxRx(port, 1, 210, 4, [255, 255, 253, 7]) == (dxl.COMM_SUCCESS, 0)
        assert packets.readTxRx(port, 1, 210, 4)[0] == [255, 255, 253, 7]


@pytest.mark.parametrize("fast", [False, True])
def test_dynamixel_sync_reads_and_writes(fast: bool) -> None:
    with served(X, [1, 2, 3]) as bench, sdk(bench) as (port, packets):
        write = dxl.GroupSyncWrite(port, packets, 104, 4)
        read = dxl.GroupSyncRead(port, packets, 104, 4)
        for number in (1, 2, 3):
            write.addParam(number, [number, 0, 0, 0])
            read.addParam(number)
        write.txPacket()
        assert (read.fastSyncRead() if fast else read.txRxPacket()) == dxl.COMM_SUCCESS
        assert [read.getData(number, 104, 4) for number in (1, 2, 3)] == [1, 2, 3]


def test_status_levels_and_return_delay() -> None:
    with served(X, [1]) as bench, sdk(bench) as (port, packets):
        packets.write1ByteTxRx(port, 1, 68, 1)
        assert packets.write1ByteTxRx(port, 1, 65, 1)[0] == dxl.COMM_RX_TIMEOUT
        assert packets.read1ByteTxRx(port, 1, 65)[0] == 1
        packets.write1ByteTxOnly(port, 1, 68, 0)
        assert packets.read1ByteTxRx(port, 1, 65)[1] == dxl.COMM_RX_TIMEOUT
        assert packets.ping(port, 1)[1] == dxl.COMM_SUCCESS
        assert bench.servos[1].delay == pytest.approx(500e-6)


def test_feetech_pings_reads_writes_and_syncs() -> None:
    with served(STS, [1, 2]) as bench, sdk(bench, scs, 0) as (port, packets):
        assert packets.ping(port, 1) == (777, scs.COMM_SUCCESS, 0)
        assert packets.ping(port, 9)[1] == scs.COMM_RX_TIMEOUT
        assert packets.write1ByteTxRx(port, 1, 41, 50) == (scs.COMM_SUCCESS, 0)
        assert packets.read1ByteTxRx(port, 1, 41) == (50, scs.COMM_SUCCESS, 0)
        write, read = scs.GroupSyncWrite(port, packets, 46, 2), scs.GroupSyncRead(port, packets, 46, 2)
        for number in (1, 2):
            write.addParam(number, [number, 0])
            read.addParam(number)
        write.txPacket()
        assert read.txRxPacket() == scs.COMM_SUCCESS
        assert [read.getData(number, 46, 2) for number in (1, 2)] == [1, 2]


def test_another_baud_rate_is_noise() -> None:
    with served(X, [1], baud=57_600) as bench:
        with sdk(bench) as (port, packets):
            assert packets.ping(port, 1)[1] == dxl.COMM_RX_TIMEOUT
        with sdk(bench, baud=57_600) as (port, packets):
            assert packets.ping(port, 1)[1] == dxl.COMM_SUCCESS


def test_two_servos_of_one_id_spoil_each_others_answers() -> None:
    with served(STS, [1, 1]) as bench, sdk(bench, scs, 0) as (port, packets):
        assert packets.read2ByteTxRx(port, 1, 3)[1] != scs.COMM_SUCCESS


@pytest.mark.parametrize("kind", ["corrupt", "short", "silent"])
def test_what_is_spoilt_is_no_success(kind: str) -> None:
    disturber = Disturber(np.random.default_rng(0), {kind: 1.0})  # type: ignore[dict-item]
    with served(X, [1], disturber=disturber) as bench, sdk(bench) as (port, packets):
        results = [packets.read2ByteTxRx(port, 1, 0)[1] for _ in range(5)]
        assert dxl.COMM_SUCCESS not in results
        assert disturber.done[kind] == 5


def test_pwm_turns_a_dynamixel_the_way_of_its_sign_and_an_sts_the_other() -> None:
    with served(X, [1]) as bench, sdk(bench) as (port, packets):
        packets.write1ByteTxRx(port, 1, 11, 16)
        packets.write1ByteTxRx(port, 1, TORQUE, 1)
        packets.write2ByteTxRx(port, 1, GOAL_PWM, 400)
        time.sleep(0.1)
        assert packets.read4ByteTxRx(port, 1, POSITION)[0] > 2100
    with served(STS, [1]) as bench, sdk(bench, scs, 0) as (port, packets):
        packets.write1ByteTxRx(port, 1, 33, 2)
        packets.write1ByteTxRx(port, 1, 40, 1)
        packets.write2ByteTxRx(port, 1, 44, 400)
        time.sleep(0.2)
        assert packets.read2ByteTxRx(port, 1, 56)[0] < 2040


def test_a_goal_position_energises_an_sts() -> None:
    with served(STS, [1]) as bench, sdk(bench, scs, 0) as (port, packets):
        assert packets.read1ByteTxRx(port, 1, 40)[0] == 0
        packets.write2ByteTxRx(port, 1, 42, 2300)
        assert packets.read1ByteTxRx(port, 1, 40)[0] == 1
        time.sleep(0.4)
        assert packets.read2ByteTxRx(port, 1, 56)[0] == pytest.approx(2300, abs=60)


def test_the_bus_watchdog_of_a_dynamixel_stops_it_and_refuses_goals() -> None:
    with served(X, [1]) as bench, sdk(bench) as (port, packets):
        for address, value in ((11, 16), (TORQUE, 1), (98, 2)):
            packets.write1ByteTxRx(port, 1, address, value)
        packets.write2ByteTxRx(port, 1, GOAL_PWM, 300)
        time.sleep(0.1)
        assert packets.read1ByteTxRx(port, 1, 98)[0] == 255
        assert packets.read2ByteTxRx(port, 1, GOAL_PWM)[0] == 0
        assert packets.write2ByteTxRx(port, 1, GOAL_PWM, 300) == (dxl.COMM_SUCCESS, 4)
        packets.write1ByteTxRx(port, 1, 98, 0)
        assert packets.write2ByteTxRx(port, 1, GOAL_PWM, 300) == (dxl.COMM_SUCCESS, 0)
