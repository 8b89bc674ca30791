"""Each target: its name, its addresses, the way to it, its certificate, and whether it accepts what is sent.

Only a requested sample is sent. The probes are blocking and have threads of their own, so that a slow target delays
neither the others nor a daemon.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from cryptography import x509

from daemon import errors
from daemon.control.doctor import probe, target_states
from daemon.control.doctor.finding import Status, Topic
from daemon.delivery import sample_delivery
from daemon.outbound import resolver
from daemon.text import span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from daemon.control.doctor.examination import Examination
    from daemon.control.doctor.finding import Finding
    from daemon.control.doctor.probe import Reached
    from daemon.settings import Target

THREADS = 8
LONGEST = timedelta(seconds=10)  # for each step of a probe
LONGEST_SAMPLES = timedelta(seconds=60)
SOON = timedelta(days=14)
PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Patient:
    """One target, and what its checks need."""

    target: Target
    examination: Examination
    topic: Topic

    @property
    def url(self) -> SplitResult:
        """Return the target's URL."""
        return urlsplit(self.target.url.get_secret_value())

    @property
    def proxy(self) -> SplitResult | None:
        """Return the proxy's URL."""
        return None if self.target.proxy is None else urlsplit(self.target.proxy.get_secret_value())

    @property
    def seconds(self) -> float:
        """Return the time limit of each step."""
        return min(self.target.timeout, LONGEST).total_seconds()

    def host(self, url: SplitResult, *, is_proxy: bool = False) -> resolver.Host:
        """Return the host of a URL with the rules for its addresses."""
        rules = resolver.ANYWHERE if is_proxy else self.target.egress
        name = (url.hostname or "").encode("idna").decode()
        return resolver.Host(name, _port(url), rules, self.examination.lookup)


async def check(examination: Examination) -> list[Finding]:
    """Return the state of each target. That it fails now is reported where its own checks do not show why."""
    recorded = await target_states.read(examination)
    patients = [Patient(each, examination, Topic(name)) for name, each in examination.settings.targets.items()]
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="doctor")
    try:
        groups = await asyncio.gather(*(_check(patient, executor) for patient in patients))
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    findings: list[Finding] = []
    for patient, group in zip(patients, groups, strict=True):
        findings += group
        state = recorded.get(patient.target.name)
        if state is not None and (state.status is not Status.FAIL or not _has_failed(group)):
            findings.append(state)
    return findings


async def _check(patient: Patient, executor: ThreadPoolExecutor) -> list[Finding]:
    """Return the state of one target, up to the first step that fails."""
    findings = _client_certificate(patient)
    steps: list[Callable[[], Awaitable[list[Finding]]]] = []
    if not patient.examination.offline:
        steps.append(lambda: _reached(patient, executor))
    if patient.examination.send:
        steps.append(lambda: _samples(patient))
    for step in steps:
        if _has_failed(findings):
            break
        findings += await step()
    return findings


def _has_failed(findings: list[Finding]) -> bool:
    return any(each.status is Status.FAIL for each in findings)


def _client_certificate(patient: Patient) -> list[Finding]:
    """Return when the certificate ends that pagerelay presents, if it presents one."""
    tls = patient.target.tls
    if tls is None or tls.identity is None:
        return []
    certificate = x509.load_pem_x509_certificates(tls.identity.get_secret_value().encode())[0]
    remedy = "issue a new one, put it into the file that tls.cert names, and restart the daemon"
    return [_ends(patient, "target.client_certificate", certificate.not_valid_after_utc, remedy)]


def _ends(patient: Patient, name: str, end: datetime, remedy: str) -> Finding:
    """Return how long a certificate is still valid."""
    left = end - patient.examination.clock()
    found = f"valid until {end:%Y-%m-%d}"
    if left <= timedelta(0):
        return patient.topic.fail(name, f"expired on {end:%Y-%m-%d}", remedy)
    if left < SOON:
        return patient.topic.warn(name, f"{found}, for another {span(left.total_seconds())}", remedy)
    return patient.topic.ok(name, found)


async def _reached(patient: Patient, executor: ThreadPoolExecutor) -> list[Finding]:
    """Resolve, connect, and shake hands."""
    url, proxy = patient.url, patient.proxy
    route = url if proxy is None else proxy
    try:
        addresses = await patient.host(route, is_proxy=proxy is not None).permitted(patient.seconds)
        if proxy is not None:
            await patient.host(url).check(patient.seconds)
    except (errors.NoAnswer, UnicodeError) as error:
        refused = str(error).startswith("refused")
        name, remedy = (
            ("addresses", "check egress.private and egress.allow")
            if refused
            else ("name", "check the host in url, and DNS")
        )
        return [patient.topic.fail_with(f"target.{name}", error, remedy)]
    ours = probe.Route(
        host=url.hostname or "",
        port=_port(url),
        is_tls=url.scheme == "https",
        tls=patient.target.tls,
        proxy=proxy,
        proxy_port=0 if proxy is None else _port(proxy),
        seconds=patient.seconds,
    )
    try:
        reached = await asyncio.get_running_loop().run_in_executor(executor, probe.reach, ours, addresses)
    except probe.ProbeError as error:
        return [patient.topic.fail(error.check, error.found, error.remedy)]
    return _described(patient, route, reached)


def _described(patient: Patient, route: SplitResult, reached: Reached) -> list[Finding]:
    topic = patient.topic
    findings = [topic.ok("target.address", f"{route.hostname} is {reached.address}, permitted")]
    if route.hostname == reached.address:
        findings = [topic.ok("target.address", f"{reached.address}, permitted")]
    findings.append(topic.ok("target.connection", f"port {_port(route)} accepts connections"))
    if patient.proxy is not None:
        found = (
            "opens a tunnel to the target"
            if reached.has_tunnel
            else "reachable; send a sample to test the way to the target (--send)"
        )
        findings.append(topic.ok("target.proxy", found))
    if reached.certificate_end is not None:
        remedy = "have the receiver's certificate renewed"
        findings.append(_ends(patient, "target.tls", reached.certificate_end, remedy))
    return findings


async def _samples(patient: Patient) -> list[Finding]:
    """Send a signed sample of each kind of message that the target receives."""
    settings, target = patient.examination.settings, patient.target
    kinds = sample_delivery.kinds(target, settings.triggers.values(), settings.actions_notify, settings.alerts_to)
    trials = await sample_delivery.run(target, kinds, patient.examination.clock(), LONGEST_SAMPLES)
    failed = [trial for trial in trials if trial.error]
    if failed:
        found = f"{len(failed)} of {len(trials)} not accepted: {failed[0].type}: {failed[0].error}"
        return [patient.topic.fail("target.sample", found, f"see the answers: pagerelay targets test {target.name}")]
    return [patient.topic.ok("target.sample", f"{len(trials)} accepted")]


def _port(url: SplitResult) -> int:
    return url.port or PORTS.get(url.scheme, 0)
