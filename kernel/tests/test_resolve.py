"""One order for the same inputs; all faults at once."""

from __future__ import annotations

import itertools
import random
import sys
from typing import Any

import pytest

from bootsteps import (
    POOL,
    TIMER,
    App,
    BootError,
    Catalogue,
    Demand,
    Plan,
    ServiceKey,
    Setting,
    Step,
    compose,
    control_command,
    scan,
)
from bootsteps import errors as e

THING = ServiceKey[object]("thing")


def step(name: str, /, **attributes: Any) -> type[Step]:
    return type(name, (Step,), {"__module__": "made.up", **attributes})


def plan(*steps: type[Step], settings: dict[str, Any] | None = None, **options: Any) -> Plan:
    app = App(**(settings or {}))
    app.steps["worker"].update(steps)
    return compose(app, Catalogue(()), **options)


def order(*steps: type[Step], **options: Any) -> list[str]:
    return [candidate.name for candidate in plan(*steps, **options).order]


def faults(*steps: type[Step], **options: Any) -> list[e.KernelError]:
    with pytest.raises(BootError) as caught:
        plan(*steps, **options)
    return list(caught.value.faults)


def test_a_step_starts_after_what_it_requires_and_ties_are_broken_by_name():
    steps = [step("Zeta"), step("Alpha", requires=("Zeta",)), step("Beta"), step("Gamma", requires=("Alpha", "Beta"))]
    for permutation in itertools.permutations(steps):
        assert order(*permutation) == ["Beta", "Zeta", "Alpha", "Gamma"]


def test_a_requirement_may_be_a_name_a_class_a_location_or_a_service():
    pool = step("Pool", provides=(POOL,))
    for need in ("Pool", "pool", pool, "made.up:Pool", POOL, "celery.worker.components:Pool"):
        assert order(step("A", requires=(need,)), pool) == ["Pool", "A"]


def test_a_required_class_that_nobody_installed_joins():
    base = step("Base")
    assert order(step("A", requires=(step("Middle", requires=(base,)),))) == ["Base", "Middle", "A"]


def test_wants_and_after_and_before_order_only_what_is_there():
    assert order(step("A", wants=("Absent", TIMER), after=("Absent",), before=("Absent",))) == ["A"]
    timer = step("Timer", provides=(TIMER,))
    assert order(step("A", wants=(TIMER,)), timer) == ["Timer", "A"]
    assert order(step("A", after=("B",)), step("B")) == ["B", "A"]
    assert order(step("B", before=("A",)), step("A")) == ["B", "A"]


def test_first_and_last():
    first, last = step("Zero", first=True, requires=("Need",)), step("Last", last=True)
    steps = (first, last, step("Need"), step("A"), step("Alone", independent=True), step("Z", requires=("Last",)))
    assert order(*steps) == ["Alone", "Need", "Zero", "A", "Last", "Z"]
    assert order(step("L1", last=True), step("L2", last=True), step("Z")) == ["Z", "L1", "L2"]


def test_a_missing_requirement_names_the_step_its_origin_and_a_remedy():
    [fault] = faults(step("A", requires=("Pol",)), step("Pool"))
    assert isinstance(fault, e.MissingRequirement)
    assert "step 'A' requires the step 'Pol', which nothing installed offers" in str(fault)
    assert "app.steps['worker']: made.up:A" in str(fault)
    assert "did you mean 'Pool'?" in str(fault)


def test_a_missing_service_names_the_distributions_that_offer_it():
    [fault] = faults(step("A", requires=(POOL,)), offers={"pool": ("dist-a", "dist-b")})
    assert "pip install dist-a or dist-b" in str(fault)


def test_a_step_cannot_require_itself():
    [fault] = faults(step("A", requires=("A",)))
    assert "requires itself" in str(fault)


def test_every_cycle_is_shown_as_a_path():
    found = faults(
        step("A", requires=("B",)), step("B", requires=("C",)), step("C", requires=("A",)),
        step("X", requires=("Y",)), step("Y", requires=("X",)), step("Free"),
    )  # fmt: skip
    assert [type(fault) for fault in found] == [e.CycleError, e.CycleError]
    assert "A -> C -> B -> A" in str(found[0])
    assert "X -> Y -> X" in str(found[1])
    assert "made.up:B" in str(found[0])


def test_two_steps_of_one_name_are_refused():
    [fault] = faults(step("A"), type("A", (Step,), {"__module__": "else.where"}))
    assert isinstance(fault, e.DuplicateName)
    assert "made.up:A" in str(fault)
    assert "else.where:A" in str(fault)


def test_two_lenders_of_one_service_are_refused():
    [fault] = faults(step("A", provides=(THING,)), step("B", provides=(THING,)))
    assert isinstance(fault, e.DuplicateProvider)
    assert "service 'thing' is lent by two steps" in str(fault)


def pools(*choices: str) -> list[type[Step]]:
    return [step(f"{choice}Pool", provides=(POOL,), choice=choice) for choice in choices]


def test_the_setting_chooses_among_alternatives():
    chosen = plan(*pools("prefork", "solo"), settings={"worker_pool": "solo"})
    assert [candidate.name for candidate in chosen.order] == ["soloPool"]
    [out] = chosen.left_out
    assert (out.name, out.reason) == ("preforkPool", "chosen is 'solo'")


def test_the_default_wins_and_the_only_one_wins():
    assert order(*pools("solo", "prefork")) == ["preforkPool"]
    assert order(*pools("solo")) == ["soloPool"]


def test_several_without_a_default_are_listed():
    [fault] = faults(*pools("solo", "threads"))
    assert "service 'pool' is offered by 'solo' and by 'threads', and worker_pool chooses neither" in str(fault)
    assert "set worker_pool (-P, --pool) to one of them" in str(fault)


def test_a_choice_that_nobody_offers_is_refused():
    [fault] = faults(*pools("solo", "threads"), settings={"worker_pool": "thraeds"})
    assert isinstance(fault, e.UnknownName)
    assert "did you mean 'threads'?" in str(fault)


def test_a_step_of_the_wrong_type_is_refused():
    for wrong in (step("A")(None), 7, dict):
        app = App()
        app.steps["worker"].add(wrong)  # type: ignore[arg-type]
        with pytest.raises(BootError) as caught:
            compose(app, Catalogue(()))
        assert "must be a subclass of bootsteps.Step" in str(caught.value)


def test_all_faults_come_together():
    found = faults(
        step("A", requires=("Nope",)), step("B", provides=(THING,)), step("C", provides=(THING,)),
        step("X", requires=("Y",)), step("Y", requires=("X",)), step("S", settings=(Setting("size", int, 1),)),
        settings={"size": "big", "sise": 2},
    )  # fmt: skip
    assert {type(fault).__name__ for fault in found} == {
        "MissingRequirement", "DuplicateProvider", "CycleError", "SettingError",
    }  # fmt: skip
    text = "\n".join(map(str, found))
    assert "setting 'size' takes an int, not 'big' (application)" in text
    assert "unknown setting 'sise'" in text
    assert "did you mean 'size'?" in text


def test_a_setting_or_an_option_that_is_declared_twice_is_refused():
    found = faults(step("A", settings=(Setting("x", int, 1),)), step("B", settings=(Setting("x", int, 2, flags=()),)))
    assert "setting 'x' is declared twice" in str(found[0])
    found = faults(
        step("A", settings=(Setting("a", int, 1, flags=("--same",)),)),
        step("B", settings=(Setting("b", int, 2, flags=("--same",)),)),
    )
    assert "option '--same' is declared twice" in str(found[0])
    shared = Setting("x", int, 1)
    assert order(step("A", settings=(shared,)), step("B", settings=(shared,))) == ["A", "B"]


def test_what_the_chosen_one_cannot_do_is_refused():
    def demands(cls, settings):
        return [Demand(POOL, "hard_limit", "task_time_limit = 5")]

    asks = step("Asks", requires=(POOL,), demands=classmethod(demands))
    [fault] = faults(asks, *pools("solo"))
    assert "task_time_limit = 5 needs 'hard_limit', which pool 'solo' cannot do" in str(fault)
    able = step("Able", provides=(POOL,), choice="able", capabilities=frozenset({"hard_limit"}))
    assert order(asks, able) == ["Able", "Asks"]


def nested(*inner: type[Step], outer: tuple[type[Step], ...] = ()) -> Plan:
    app = App()
    app.steps["worker"].update([step("Host", runs="consumer", last=True), *outer])
    app.steps["consumer"].update(inner)
    return compose(app, Catalogue(()))


def test_a_nested_blueprint_is_planned_with_the_one_around_it():
    whole = nested(step("B", requires=("A", POOL, "Timer")), step("A"), outer=(*pools("solo"), step("Timer")))
    inner = whole.nested["Host"]
    assert [candidate.name for candidate in inner.order] == ["A", "B"]
    assert set(whole.graph.predecessors("Host")) == {"Timer", "soloPool"}
    assert whole.graph.edges["Timer", "Host"]["kind"] == "requires"


def test_faults_of_a_nested_blueprint_come_with_the_others():
    with pytest.raises(BootError) as caught:
        nested(step("B", requires=("Nope",)), outer=(step("C", requires=("Nada",)),))
    assert len(caught.value.faults) == 2


def test_a_command_that_requires_what_nobody_lends_is_refused(monkeypatch):
    @control_command(requires=(POOL,))
    def grow(state):
        """Grow."""

    app = App()
    app.load = lambda: [sys.modules[__name__]]  # type: ignore[method-assign]
    monkeypatch.setattr(sys.modules[__name__], "grow", grow, raising=False)
    with pytest.raises(BootError, match="command 'grow' requires the service 'pool'"):
        compose(app, Catalogue(()))


GOOD = "from bootsteps import Step\nclass Good(Step): pass\nclass Needs(Step): requires = ('Bad',)\n"


def installed(make_dist, **options):
    make_dist(
        "third",
        {"worker.steps": {"Good": "third_good:Good", "Bad": "third_bad:Bad", "Needs": "third_good:Needs"}},
        {"third_good": GOOD, "third_bad": "1 / 0"},
    )
    found = [plugin for plugin in scan() if plugin.dist == "third"]
    return lambda **more: compose(App(), Catalogue(found, options.get("without", ())), **more)


def test_a_plugin_that_raises_on_import_stops_the_boot(make_dist):
    with pytest.raises(BootError) as caught:
        installed(make_dist)()
    text = str(caught.value)
    assert "ZeroDivisionError" in text
    assert "--without Bad" in text
    assert "worker.steps:Bad (third 1.0)" in text


def test_quarantine_leaves_it_out_with_its_dependants(make_dist):
    whole = installed(make_dist)(quarantine=True)
    assert [candidate.name for candidate in whole.order] == ["Good"]
    reasons = {out.name: out.reason for out in whole.left_out}
    assert reasons["Bad"].startswith("quarantined: plugin 'Bad' cannot be loaded")
    assert reasons["Needs"].startswith("quarantined: step 'Needs' requires the step 'Bad'")


def test_a_disabled_step_satisfies_nobody(make_dist):
    with pytest.raises(BootError) as caught:
        installed(make_dist, without=["Bad"])()
    assert "requires the step 'Bad', which is left out (--without Bad)" in str(caught.value)


def test_every_missing_requirement_of_a_step_is_told_in_the_same_order_also_from_a_set():
    needs = {"Zz", "Aa", ServiceKey("gold"), ServiceKey("silver")}
    found = [fault.what for fault in faults(step("A", requires=needs))]
    assert [what.partition("requires the ")[2].partition(",")[0] for what in found] == [
        "service 'gold'", "service 'silver'", "step 'Aa'", "step 'Zz'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("requires", "Timer", "requires must be a tuple, not 'Timer'"),
        ("wants", None, "wants must be a tuple, not None"),
        ("before", (5,), "before has the entry 5"),
        ("requires", (int,), "requires has the entry <class 'int'>"),
        ("provides", ("pool",), "provides has the entry 'pool'"),
    ],
)
def test_a_declaration_of_the_wrong_shape_is_a_fault(name, value, what):
    [fault] = faults(step("A", **{name: value}))
    assert (type(fault), fault.what) == (e.WrongType, what)
    assert fault.whose == ("app.steps['worker']: made.up:A",)
    assert fault.fix


def test_a_declaration_of_the_wrong_shape_is_found_in_a_class_that_is_pulled_in():
    [fault] = [f for f in faults(step("A", requires=(step("B", wants="Timer"),))) if isinstance(f, e.WrongType)]
    assert fault.what == "wants must be a tuple, not 'Timer'"
    assert fault.whose == ("made.up:B, required by app.steps['worker']: made.up:A",)


def test_a_service_whose_lender_is_switched_off_is_told_to_be_left_out(make_dist):
    lender = "from bootsteps import Step, TIMER\nclass Clock(Step): provides = (TIMER,)"
    make_dist("clock", {"worker.steps": {"Clock": "clock_m:Clock"}}, {"clock_m": lender})
    catalogue = Catalogue([plugin for plugin in scan() if plugin.dist == "clock"], ["Clock"])
    app = App()
    app.steps["worker"].add(step("A", requires=(TIMER,)))
    with pytest.raises(BootError, match=r"which is left out \(--without Clock\)"):
        compose(app, catalogue, offers={"timer": ("clock",)})
    with pytest.raises(BootError, match="which nothing installed offers"):  # no name tells, and it must not be imported
        compose(app, catalogue)


def test_a_command_is_told_that_its_step_is_switched_off(make_dist):
    text = """
from bootsteps import ServiceKey, Step, inspect_command
KEY = ServiceKey("gold")
class Mine(Step): provides = (KEY,)
@inspect_command(requires=(KEY,))
def dig(state): pass
"""
    points = {"worker.steps": {"Mine": "mine_m:Mine"}, "worker.commands": {"dig": "mine_m:dig"}}
    make_dist("mine", points, {"mine_m": text})
    plugins = [plugin for plugin in scan() if plugin.dist == "mine"]
    with pytest.raises(BootError) as caught:
        compose(App(), Catalogue(plugins, ["Mine"]))
    [fault] = caught.value.faults
    assert fault.what == "command 'dig' requires the service 'gold', which is left out (--without Mine)"
    assert fault.whose == ("worker.commands:dig (mine 1.0)", "worker.steps:Mine (mine 1.0)")
    assert "--without mine as a whole" in fault.fix
    assert compose(App(), Catalogue(plugins, ["mine"])).order == []


def test_resolving_is_linear_enough():
    rng = random.Random(1)
    names = [f"S{number:04}" for number in range(1000)]
    steps = [
        step(name, requires=tuple(names[rng.randrange(number)] for _ in range(4)) if number else ())
        for number, name in enumerate(names)
    ]
    found = order(*steps)
    position = {name: index for index, name in enumerate(found)}
    for cls in steps:
        assert all(position[need] < position[cls.__name__] for need in cls.requires)  # type: ignore[index]


def test_of_two_reasons_for_one_edge_the_need_counts():
    found = plan(step("A", before=("B",)), step("B", requires=("A",)))
    assert found.graph.edges["A", "B"]["kind"] == "requires"
    found = plan(step("C", first=True), step("D", after=("C",)), step("E", wants=("C",), after=("C",)))
    assert [found.graph.edges["C", name]["kind"] for name in "DE"] == ["first", "first"]


def test_a_step_may_be_required_by_the_names_of_those_whose_place_it_takes():
    new = step("New", aliases=("Old (intra)", "Old"))
    for need in ("Old (intra)", "old", "celery.somewhere:Old"):
        assert order(new, step("A", requires=(need,)), step("Zed", before=("Old",))) == ["Zed", "New", "A"]
    both = plan(new, step("A", requires=("Old",)), step("Old"))
    assert list(both.graph.edges) == [("Old", "A")]  # one that has the name goes before it


def test_aliases_that_are_no_tuple_of_names_are_refused():
    [fault] = faults(step("A", aliases="Old"))
    assert "aliases must be a tuple, not 'Old'" in str(fault)
