"""How an arm of two links moves under its two motors: one control period, differentiable and stable at any length.

With the angles q = (shoulder, elbow relative to the upper link), measured from upright, and c, s = cos, sin(elbow):

    M(q)·dω/dt = drive·duty − D·ω + C(q, ω) + G(q) − friction         drive = polarity·kt·V/R,   D = kt²/R + viscous

    M = ⎡a + 2·κ·c   b + κ·c⎤   b = (m_f/3 + m_p)·l_f²          a = armature₁ + (m_u/3 + m_f + m_p)·l_u² + b
        ⎣b + κ·c     d      ⎦   κ = (m_f/2 + m_p)·l_u·l_f       d = armature₂ + b
    C = κ·s·(2·ω₁·ω₂ + ω₂²,  −ω₁²)
    G = (γ_u·sin q₁ + γ_f·sin(q₁ + q₂),  γ_f·sin(q₁ + q₂))
        γ_u = g·(m_u/2 + m_f + m_p)·l_u     γ_f = g·(m_f/2 + m_p)·l_f

for an upper link u, a forearm f and a payload p at the tip, the links being uniform rods (Spong, Hutchinson and
Vidyasagar, "Robot Modeling and Control", 2006, section 7.4). Motor and friction of a joint are those of `tasks.servo`.

**The step.** Over one period h the linear part M·dω/dt = u − D·ω is solved by N·(ω' − ω) = h·(u − D·ω). That would be
exact for N = M·f(h·M⁻¹·D), f(x) = x/(1 − e⁻ˣ); its series, 1 + x/2 + x²/12, gives

    N = M + h·D/2 + h²·D·M⁻¹·D/12

by which each mode decays by a factor between 0.07 and 1, whatever h, and within 0.01 of e⁻ˣ as far as x = 2.
Friction is an impulse j on each joint, bounded by what stops it: in N·ω' = N·ω + h·(u − D·ω) − j, two sweeps of
projected Gauss-Seidel, of which each half takes kinetic energy away. A joint that meets its end stop stops there, by an
impulse that leaves the momentum of the other as it is.

The gradient of a joint at its stop is that of one that would move on: the exact one is zero, and would not teach a
policy that pushes into the stop to turn round.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

END_STOP = 1.7  # rad, of either joint
GRAVITY = 9.81  # m/s²


class Arms(NamedTuple):
    """Where arms are and how they move, (…, 2) each: shoulder and elbow."""

    angle: Tensor  # rad
    speed: Tensor  # rad/s


class Coefficients(NamedTuple):
    """What a step needs of T arms, (T, 1) or, of both joints, (T, 1, 2). Symbols as in the module."""

    drive: Tensor  # N·m at full duty
    damping: Tensor  # D, N·m·s/rad
    coulomb: Tensor  # N·m
    shoulder: Tensor  # a, kg·m²
    lower: Tensor  # b, kg·m²
    elbow: Tensor  # d, kg·m²
    coupling: Tensor  # κ, kg·m²
    upper_weight: Tensor  # γ_u, N·m
    fore_weight: Tensor  # γ_f, N·m

    def where(self, condition: Tensor, other: Coefficients) -> Coefficients:
        """These where `condition` (T,), `other` elsewhere."""
        pairs = zip(self, other, strict=True)
        return Coefficients(*(torch.where(condition.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))


class Forces(NamedTuple):
    """What acts on the joints besides friction, N·m (…, 2)."""

    motor: Tensor  # back-EMF and viscous friction included
    external: Tensor  # gravity, and what the other link does


def forces(arms: Arms, duty: Tensor, c: Coefficients) -> Forces:
    """Torques at the begin of a step under `duty` (…, 2), within ±1."""
    (q1, q2), (w1, w2) = arms.angle.unbind(-1), arms.speed.unbind(-1)
    tip = c.fore_weight * torch.sin(q1 + q2)
    whirl = c.coupling * torch.sin(q2)
    shoulder = c.upper_weight * torch.sin(q1) + tip + whirl * w2 * (2.0 * w1 + w2)
    external = torch.stack([shoulder, tip - whirl * w1 * w1], -1)
    return Forces(c.drive * duty - c.damping * arms.speed, external)


def step(arms: Arms, acting: Forces, friction: Tensor, c: Coefficients, h: float) -> Arms:
    """h seconds on, where friction takes at most `friction` (…, 2) N·m."""
    (w1, w2), (d1, d2) = arms.speed.unbind(-1), c.damping.unbind(-1)
    coupled = c.coupling * torch.cos(arms.angle[..., 1])
    m11, m12, m22 = c.shoulder + 2.0 * coupled, c.lower + coupled, c.elbow
    share = h * h / 12.0 / (m11 * m22 - m12 * m12)
    n11 = m11 + 0.5 * h * d1 + share * d1 * d1 * m22
    n22 = m22 + 0.5 * h * d2 + share * d2 * d2 * m11
    n12 = m12 - share * d1 * d2 * m12
    push1, push2 = (h * (acting.motor + acting.external)).unbind(-1)
    y1, y2 = n11 * w1 + n12 * w2 + push1, n12 * w1 + n22 * w2 + push2  # N·ω' without friction
    most1, most2 = (h * friction).unbind(-1)
    r1, r2 = n12 / n11, n12 / n22
    j1 = _within(y1 - r2 * y2, most1)
    j2 = _within(y2 - r1 * (y1 - j1), most2)
    j1 = _within(y1 - r2 * (y2 - j2), most1)
    j2 = _within(y2 - r1 * (y1 - j1), most2)
    y1, y2 = y1 - j1, y2 - j2
    scale = 1.0 / (n11 * n22 - n12 * n12)
    speed = torch.stack([scale * (n22 * y1 - n12 * y2), scale * (n11 * y2 - n12 * y1)], -1)
    moved = arms.angle + 0.5 * h * (arms.speed + speed)
    return _stopped(moved, speed, torch.stack([m12 / m11, m12 / m22], -1))


def _stopped(moved: Tensor, speed: Tensor, passed_on: Tensor) -> Arms:
    """Joints as far as their stops let them; `passed_on`: share of a stopped joint's speed that the other takes."""
    angle = F.hardtanh(moved, -END_STOP, END_STOP)
    goes = (angle == moved).to(speed.dtype)
    taken = torch.flip((1.0 - goes) * speed, (-1,))
    return Arms(moved + (angle - moved).detach(), goes * (speed + passed_on * taken))


def energy(arms: Arms, c: Coefficients) -> Tensor:
    """Kinetic energy of links and rotors, and what the weight has to give, J (…)."""
    (q1, q2), (w1, w2) = arms.angle.unbind(-1), arms.speed.unbind(-1)
    coupled = c.coupling * torch.cos(q2)
    kinetic = 0.5 * ((c.shoulder + 2.0 * coupled) * w1 * w1 + c.elbow * w2 * w2)
    kinetic = kinetic + (c.lower + coupled) * w1 * w2
    return kinetic + c.upper_weight * torch.cos(q1) + c.fore_weight * torch.cos(q1 + q2)


def _within(x: Tensor, most: Tensor) -> Tensor:
    return torch.clamp(x, -most, most)
