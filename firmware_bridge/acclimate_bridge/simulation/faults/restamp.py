"""A device's clock made to run fast or slow by whoever passes its frames on."""

from __future__ import annotations

from collections.abc import Callable

from acclimate_bridge.link.line import assembled
from acclimate_bridge.link.messages import OPEN_LAYOUT, Caps, ChannelInfo, Obs, Pong, Type, WireChannel
from acclimate_bridge.link.wire import Decoder, Frame, encode

_MASK = 0xFFFFFFFF


class Restamper:
    """Frames in, frames out, with the device's stamps stretched; what it does not understand passes as it is.

    It listens until the device has described its channels, for without them it could not seal a frame anew.
    """

    def __init__(self, drift: float) -> None:
        """By what share the clock is to run fast."""
        self._drift = drift
        self._origin: int | None = None
        self._rests = {False: b"", True: b""}
        self._decoder = Decoder(OPEN_LAYOUT)
        self._caps: Caps | None = None
        self._channels: dict[tuple[int, int], WireChannel] = {}

    def to_host(self, data: bytes) -> bytes:
        """What comes from the device."""
        return self._each(data, True, self._of_device)

    def to_device(self, data: bytes) -> bytes:
        """What comes from the host: a CMD names a stamp of the device."""
        return self._each(data, False, self._of_host)

    def _each(self, data: bytes, from_device: bool, change: Callable[[Frame], Frame]) -> bytes:
        *contents, self._rests[from_device] = (self._rests[from_device] + data).split(b"\0")
        return b"".join(self._changed(content + b"\0", change) for content in contents)

    def _changed(self, data: bytes, change: Callable[[Frame], Frame]) -> bytes:
        frames = self._decoder.feed(data)
        return encode(change(frames[0]), self._decoder.layout) if frames else data

    def _of_device(self, frame: Frame) -> Frame:
        self._learn(frame)
        if self._origin is None:
            self._origin = frame.t_us
        payload = frame.payload
        if frame.type == Type.PONG:
            pong = Pong.unpack(payload)
            payload = pong._replace(received_t_us=self._fast(pong.received_t_us)).pack()
        elif frame.type == Type.OBS:
            obs = Obs.unpack(payload)
            payload = obs._replace(cmd_t_us=self._fast(obs.cmd_t_us)).pack()
        return frame._replace(t_us=self._fast(frame.t_us), payload=payload)

    def _of_host(self, frame: Frame) -> Frame:
        if frame.type != Type.CMD or self._origin is None:
            return frame
        passed = ((frame.t_us - self._origin) & _MASK) / (1.0 + self._drift)
        return frame._replace(t_us=(self._origin + round(passed)) & _MASK)

    def _fast(self, t_us: int) -> int:
        origin = self._origin or 0
        return (origin + round(((t_us - origin) & _MASK) * (1.0 + self._drift))) & _MASK

    def _learn(self, frame: Frame) -> None:
        if frame.type == Type.CAPS:
            self._caps = Caps.unpack(frame.payload)
        elif frame.type == Type.CHANNEL and self._caps is not None:
            kind, number, channel = ChannelInfo.unpack(frame.payload)
            self._channels[kind, number] = channel
            schema = assembled(self._caps, self._channels)
            if schema is not None:
                self._decoder.layout = schema.layout
