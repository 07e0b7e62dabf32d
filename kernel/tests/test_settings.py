"""Settings: layers, types, faults."""

from __future__ import annotations

import pytest

from bootsteps import App, Setting, SettingError, Settings

SIZE = Setting("pool_size", int, 4, unit="processes", help="how many")
FLAG = Setting("verbose_mode", bool, False)
NAMES = Setting[tuple[str, ...]]("names", tuple, ())


def test_command_line_over_environment_over_application_over_default(monkeypatch):
    conf = Settings({}, [SIZE])
    assert (conf.get(SIZE), conf.source("pool_size")) == (4, "default")
    conf.pool_size = 5
    assert (conf.get(SIZE), conf.source("pool_size")) == (5, "application")
    monkeypatch.setenv("KERNEL_POOL_SIZE", "6")
    assert (conf.get(SIZE), conf.source("pool_size")) == (6, "KERNEL_POOL_SIZE")
    conf.override({"pool_size": 7})
    assert (conf["pool_size"], conf.source("pool_size")) == (7, "command line")


def test_flags_come_from_the_name():
    assert SIZE.flags == ("--pool-size",)
    assert Setting("x", int, 1, flags=()).flags == ()


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        (SIZE, "12", 12), (SIZE, 3.0, 3), (FLAG, "yes", True), (FLAG, "0", False), (FLAG, 1, True),
        (NAMES, "a, b,,c", ("a", "b", "c")), (NAMES, ["x"], ("x",)), (Setting[int | None]("n", int, 1), None, None),
        (Setting("f", float, 0.0), "2.5", 2.5), (Setting("d", dict, {}), {"a": 1}, {"a": 1}),
    ],
)  # fmt: skip
def test_values_are_read_as_their_type(setting, text, value):
    parsed = setting.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [(SIZE, "many"), (SIZE, True), (SIZE, 1.5), (FLAG, "maybe"), (FLAG, 7), (Setting("s", str, ""), 5),
     (Setting("d", dict, {}), "{}"), (NAMES, 3)],
)  # fmt: skip
def test_values_of_the_wrong_type_are_refused(setting, value):
    with pytest.raises(SettingError) as caught:
        setting.parse(value)
    assert setting.name in str(caught.value)
    assert repr(value) in str(caught.value)


def test_the_error_tells_unit_and_reason():
    with pytest.raises(SettingError, match="setting 'pool_size' takes an int in processes, not 'x'"):
        SIZE.parse("x")

    def even(value):
        if int(value) % 2:
            raise ValueError("it must be even")
        return int(value)

    with pytest.raises(SettingError, match="it must be even"):
        Setting("pairs", even, 2).parse(3)


def test_all_faults_are_listed(monkeypatch):
    monkeypatch.setenv("KERNEL_VERBOSE_MODE", "perhaps")
    conf = Settings({"pool_sise": 1, "pool_size": "x"}, [SIZE, FLAG])
    text = "\n".join(map(str, conf.faults()))
    assert "unknown setting 'pool_sise'" in text
    assert "did you mean 'pool_size'?" in text
    assert "not 'x' (application)" in text
    assert "not 'perhaps' (KERNEL_VERBOSE_MODE)" in text


def test_an_application_reads_like_a_mapping_and_by_attribute():
    app = App("proj", pool_size=9)
    app.conf.declare([SIZE])
    app.conf.update(names="a,b")
    app.conf.declare([NAMES])
    assert app.conf.names == ("a", "b")
    assert dict(app.conf)["pool_size"] == 9
    with pytest.raises(AttributeError, match=r"no setting 'pool_siz'; did you mean 'pool_size'\?"):
        _ = app.conf.pool_siz
    del app.conf["pool_size"]
    assert app.conf.pool_size == 4


def test_none_given_to_an_application_means_not_given():
    assert App(pool_size=None).conf.source("pool_size") == "default"


def test_a_value_that_a_function_refuses_is_told_with_its_sentence():
    def even(value: object) -> int:
        if int(str(value)) % 2:
            raise ValueError("it must be even")
        return int(str(value))

    with pytest.raises(SettingError) as caught:
        Setting[int | None]("pairs", even, None).parse("3")
    assert caught.value.what == "setting 'pairs' cannot be '3': it must be even"
    assert caught.value.fix == "leave it out"


@pytest.mark.parametrize(
    "change",
    [
        lambda conf: conf.update(pool_size=5), lambda conf: setattr(conf, "names", "a"), lambda conf: conf.pop("other"),
        lambda conf: conf.override({"pool_size": 5}), lambda conf: conf.add_file({"pool_size": (5, "file:1")}),
        lambda conf: conf.declare([FLAG]),
    ],
)  # fmt: skip
def test_each_change_makes_another_stamp_and_reading_makes_none(change):
    conf = Settings({"other": 1}, [SIZE, NAMES])
    before = conf.stamp()
    assert (conf.pool_size, len(conf), conf.stamp()) == (4, 3, before)
    change(conf)
    assert conf.stamp() != before
    assert conf.stamp() == conf.stamp()


def test_a_change_of_the_environment_makes_another_stamp_and_its_return_the_first(monkeypatch):
    conf = Settings({}, [SIZE])
    before = conf.stamp()
    monkeypatch.setenv("KERNEL_POOL_SIZE", "6")
    assert conf.stamp() != before
    monkeypatch.delenv("KERNEL_POOL_SIZE")
    assert conf.stamp() == before
