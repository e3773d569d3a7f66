"""How an arm of two links moves under its two motors: one step, differentiable, and stable at any length.

With the angles q = (shoulder, elbow relative to the upper link), measured from upright, and c, s = cos, sin(elbow):

    M(q)·dω/dt = drive·duty − D·ω + C(q, ω) + G(q) − friction         drive = polarity·kt·V/R,   D = kt²/R + viscous

    M = ⎡a + 2·κ·c   b + κ·c⎤   b = (m_f/3 + m_p)·l_f²          a = armature₁ + (m_u/3 + m_f + m_p)·l_u² + b
        ⎣b + κ·c     d      ⎦   κ = (m_f/2 + m_p)·l_u·l_f       d = armature₂ + b
    C = κ·s·(2·ω₁·ω₂ + ω₂²,  −ω₁²)
    G = (γ_u·sin q₁ + γ_f·sin(q₁ + q₂),  γ_f·sin(q₁ + q₂))
        γ_u = g·(m_u/2 + m_f + m_p)·l_u     γ_f = g·(m_f/2 + m_p)·l_f

for an upper link u, a forearm f and a payload p at the tip, the links being uniform rods (Spong, Hutchinson and
Vidyasagar, "Robot Modeling and Control", 2006, section 7.4). Motor and friction of a joint are those of `tasks.servo`.

**The step.** Over h seconds the linear part M·dω/dt = u − D·ω is solved by N·(ω' − ω) = h·(u − D·ω). For one joint
alone that is exact with N = J·f(h·D/J), f(x) = x/(1 − e⁻ˣ) = 1 + x/2 + x²/12 − …; so

    N = M + h·W·D,      W = diag(1/2 + h·D_i/(12·M_ii)), of the arm at a right angle

Since W is at least 1/2, no mode grows, whatever h (the eigenvalues of N⁻¹·h·D lie between 0 and 2). Friction is an
impulse j on each joint, bounded by what stops it: in N·ω' = N·ω + h·(u − D·ω) − j, two sweeps of projected
Gauss-Seidel, of which each half takes kinetic energy away. A joint that meets its end stop stops there, by an impulse
that leaves the momentum of the other as it is.

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
_TO_LINKS = torch.tensor([[1.0, 1.0], [0.0, 1.0]])  # from the joints' angles to the links', from upright
_TO_JOINTS = torch.tensor([[1.0, 0.0], [1.0, 1.0]])  # from torques on the links to those on the joints


class Arms(NamedTuple):
    """Where arms are and how they move, (…, 2) each: shoulder and elbow."""

    angle: Tensor  # rad
    speed: Tensor  # rad/s


class Links(NamedTuple):
    """What is true of T arms, (T, 1) or, of both joints, (T, 1, 2). Symbols as in the module."""

    drive: Tensor  # N·m at full duty
    damping: Tensor  # D, N·m·s/rad
    coulomb: Tensor  # N·m
    shoulder: Tensor  # a, kg·m²
    lower: Tensor  # b, kg·m²
    elbow: Tensor  # d, kg·m²
    coupling: Tensor  # κ, kg·m²
    weight: Tensor  # γ_u and γ_f, N·m


class Coefficients(NamedTuple):
    """`Links` for steps of h seconds: torques as impulses, N·m·s."""

    h: float
    drive: Tensor
    undamping: Tensor  # minus D
    friction: Tensor
    weight: Tensor
    whirl: Tensor  # h·κ
    shoulder: Tensor  # a and lower, elbow, κ in N
    lower: Tensor
    elbow: Tensor
    coupling: Tensor

    @classmethod
    def of(cls, links: Links, h: float) -> Coefficients:
        inertia = torch.stack([links.shoulder, links.elbow], -1)  # (T, 1, 2)
        loss = h * links.damping
        shoulder, elbow = (inertia + loss * (0.5 + loss / (12.0 * inertia))).unbind(-1)
        return cls(
            h, h * links.drive, -loss, h * links.coulomb, h * links.weight, h * links.coupling,
            shoulder, links.lower, elbow, links.coupling,
        )  # fmt: skip


class Impulses(NamedTuple):
    """What acts on the joints in a step besides friction, N·m·s (…, 2)."""

    motor: Tensor  # back-EMF and viscous friction included
    external: Tensor  # gravity, and what the other link does


def impulses(arms: Arms, duty: Tensor, c: Coefficients) -> Impulses:
    """As they are when a step begins, under `duty` (…, 2) within ±1."""
    w1, w2 = arms.speed.unbind(-1)
    whirl = c.whirl * torch.sin(arms.angle[..., 1])
    turned = torch.stack([w2 * torch.add(w2, w1, alpha=2.0), -w1 * w1], -1) * whirl.unsqueeze(-1)
    sines = torch.sin(arms.angle @ _TO_LINKS.to(duty.dtype)) * c.weight
    external = turned + sines @ _TO_JOINTS.to(duty.dtype)
    return Impulses(torch.addcmul(c.undamping * arms.speed, c.drive, duty), external)


def step(arms: Arms, acting: Impulses, friction: Tensor, c: Coefficients) -> Arms:
    """h seconds on, where friction takes at most `friction` (…, 2) N·m·s."""
    w1, w2 = arms.speed.unbind(-1)
    coupled = c.coupling * torch.cos(arms.angle[..., 1])
    n11, n12, n22 = torch.add(c.shoulder, coupled, alpha=2.0), c.lower + coupled, c.elbow
    push1, push2 = (acting.motor + acting.external).unbind(-1)
    y1 = torch.addcmul(torch.addcmul(push1, n11, w1), n12, w2)  # N·ω' without friction
    y2 = torch.addcmul(torch.addcmul(push2, n12, w1), n22, w2)
    most1, most2 = friction.unbind(-1)
    least1, least2 = (-friction).unbind(-1)
    r1, r2 = n12 / n11, n12 / n22
    z2 = y2
    for _ in range(2):
        z1 = y1 - torch.clamp(torch.addcmul(y1, r2, z2, value=-1.0), least1, most1)
        z2 = y2 - torch.clamp(torch.addcmul(y2, r1, z1, value=-1.0), least2, most2)
    speed1 = torch.addcmul(z1, r2, z2, value=-1.0) / torch.addcmul(n11, n12, r2, value=-1.0)
    speed2 = torch.addcmul(z2, r1, z1, value=-1.0) / torch.addcmul(n22, n12, r1, value=-1.0)
    speed = torch.stack([speed1, speed2], -1)
    moved = torch.add(arms.angle, arms.speed + speed, alpha=0.5 * c.h)
    return _stopped(moved, speed, r1, r2)


def _stopped(moved: Tensor, speed: Tensor, r1: Tensor, r2: Tensor) -> Arms:
    """Joints as far as their stops let them; r: share of a stopped joint's speed that the other one takes over."""
    angle = F.hardtanh(moved, -END_STOP, END_STOP)
    goes, none = angle == moved, torch.zeros_like(speed)
    taken = torch.where(goes, none, speed)
    passed_on = torch.stack([r1 * taken[..., 1], r2 * taken[..., 0]], -1)
    return Arms(moved + (angle - moved).detach(), torch.where(goes, speed + passed_on, none))


def energy(arms: Arms, links: Links) -> Tensor:
    """Kinetic energy of links and rotors, and what the weight has to give, J (…)."""
    w1, w2 = arms.speed.unbind(-1)
    coupled = links.coupling * torch.cos(arms.angle[..., 1])
    kinetic = 0.5 * ((links.shoulder + 2.0 * coupled) * w1 * w1 + links.elbow * w2 * w2)
    kinetic = kinetic + (links.lower + coupled) * w1 * w2
    return kinetic + (torch.cos(arms.angle @ _TO_LINKS.to(arms.angle.dtype)) * links.weight).sum(-1)
