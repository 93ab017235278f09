"""Plays the golden vectors of clients/vectors against supervisor_client.py: `python3 test_vectors.py`. Exits 1 on the first file with a difference."""

import json
import os
import re
import sys

import supervisor_client as client

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors")
failures = []
played = 0


def vectors(name):
    with open(os.path.join(FOLDER, name), encoding="utf8") as file:
        return json.load(file)


def snake(name):
    return re.sub("([A-Z])", lambda match: "_" + match.group(1).lower(), name)


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return round(value) if value > 1e12 else round(value, 6)


def differs(seen, expected):
    """Of objects only the keys that are expected are compared."""
    if isinstance(expected, dict):
        return not isinstance(seen, dict) or any(differs(seen.get(key), part) for key, part in expected.items())
    if isinstance(expected, list):
        return len(seen) != len(expected) or any(differs(a, b) for a, b in zip(seen, expected))
    return seen != expected


def check(where, seen, expected):
    global played
    played += 1
    if differs(rounded(seen), rounded(expected)):
        failures.append("%s: saw %s, expected %s" % (where, json.dumps(seen), json.dumps(expected)))


def play_breaker(case):
    config = client.breaker_config(**{snake(key): value for key, value in case["config"].items()})
    circuit = client.Circuit(config)
    permits = {}
    for number, step in enumerate(case["steps"]):
        at, took, wall = step["at"], step.get("tookMs", 0), step.get("wall", 0)
        permit = permits.get(step.get("call"), client.REJECTED)
        seen = {}
        circuit.roll = step.get("roll", 0)
        what = step["do"]
        if what == "enter":
            permits[step.get("as", "")] = circuit.enter(at)
            seen["permit"] = permits[step.get("as", "")] != client.REJECTED
        elif what == "succeed":
            circuit.succeed(permit, took, at)
        elif what == "fail":
            circuit.fail(permit, took, at)
        elif what == "ignore":
            circuit.ignore(permit, at)
        elif what == "abandon":
            circuit.abandon(permit, at)
        elif what == "trip":
            circuit.trip(at, step.get("retryAfterMs"), "test")
        elif what == "reset":
            circuit.reset()
        elif what == "disable":
            circuit.disable("test")
        elif what == "forceOpen":
            circuit.force_open("test")
        elif what == "save":
            seen["saved"] = circuit.save(at, wall)
        elif what == "restore":
            circuit = client.Circuit(config)
            circuit.restore(step["saved"], at, wall)
        else:
            raise ValueError("unknown step " + what)
        seen["windowCalls"], seen["windowFailures"] = circuit.window(at)
        for key in ("state", "attempt", "consecutive", "totals"):
            seen[key] = getattr(circuit, key)
        seen["retryAfterMs"] = circuit.retry_after_ms(at)
        check("breaker, %s, step %d" % (case["name"], number), seen, step["expect"])


def play_budget(case):
    config = {snake(key): value for key, value in case["config"].items()}
    budget = client.RetryBudget(0, **config)
    granted = {}
    for number, step in enumerate(case["steps"]):
        at, wall, what = step["at"], step.get("wall", 0), step["do"]
        seen = {}
        if what == "deposit":
            budget.deposit(at)
        elif what == "withdraw":
            seen["granted"], receipt = budget.withdraw(at, step.get("priority", "normal"))
            if seen["granted"]:
                granted[step.get("as", "")] = receipt
            else:
                seen["empty"] = receipt
        elif what == "refund":
            if step.get("of") in granted:
                budget.refund(granted[step["of"]], at)
        elif what == "save":
            seen["saved"] = budget.save(at, wall)
        elif what == "restore":
            budget = client.RetryBudget(at, **config)
            budget.restore(step["saved"], at, wall)
        elif what != "left":
            raise ValueError("unknown step " + what)
        seen["tokens"], seen["hour"] = budget.left(at)
        check("budget, %s, step %d" % (case["name"], number), seen, step["expect"])


def play_levels(case):
    state = client.Degradation("normal", 0)
    for number, step in enumerate(case["steps"]):
        if "propose" in step:
            wish = step["propose"]
            ttl = float("nan") if wish["ttl"] is None else wish["ttl"]
            state.propose(wish["source"], wish["level"], "test", ttl, step["at"])
        if "set" in step:
            state.set(step["set"]["level"], "test")
        if "floor" in step:
            state.floor = step["floor"]
        state.settle(step["at"], step.get("roll", 0))
        expected = {"level": step["level"], "latched": step.get("latched", False)}
        check("level, %s, step %d" % (case["name"], number), {"level": state.level, "latched": state.latched}, expected)


def play_rest(retry, levels):
    for case in retry["delays"]:
        delay = client.retry_delay(case["baseMs"], case["capMs"], case["retry"], case["roll"], case["retryAfterMs"])
        check("delay %s" % case, delay, case["expectMs"])
    for case in retry["errors"]:
        verdict = client.judge_facts(case["name"], case["chain"], case["message"], case["hasCause"])
        seen = {"retry": verdict.retry, "breaker": verdict.breaker, "executed": verdict.executed}
        check("error %s" % case["name"], seen, case["expect"])
    for case in retry["retryAfter"]:
        check("Retry-After %s" % case["value"], client.parse_retry_after(case["value"], case["wallMs"]), case["expectMs"])
    for case in levels["gates"]:
        state = client.Degradation("normal", 0)
        state.set(case["level"], "test")
        allowed, factor = state.gate(case["action"])
        seen = {"allowed": allowed, **({"sizeFactor": factor} if allowed else {})}
        check("gate %s" % case, seen, {key: case[key] for key in seen if key in case})


breaker, retry_file, levels_file = vectors("breaker.json"), vectors("retry.json"), vectors("levels.json")
for each in breaker["cases"]:
    play_breaker(each)
for each in retry_file["budgets"]:
    play_budget(each)
for each in levels_file["vectors"]:
    play_levels(each)
play_rest(retry_file, levels_file)
for line in failures[:20]:
    print(line, file=sys.stderr)
print("%d checks, %d differences" % (played, len(failures)))
sys.exit(1 if failures else 0)
