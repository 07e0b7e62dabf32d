"""What single settings do: of the broker's connection, of messages, of results. For `kernel conf` see plugins/conf."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from uuid import uuid4

import pytest

from bootsteps import KernelError, compose, scan
from bootsteps.discovery import Catalogue
from bootsteps_consumer_tasks.root import check_root
from bootsteps_tasks import App, Context, executing
from workers import TASKS, WorkerProcess, running_worker


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = App("proj")
    yield app
    app.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# The connection


@pytest.mark.parametrize("how", ["semicolons", "list"])
def test_the_next_address_is_tried_when_one_does_not_answer(tmp_path, redis_url, how):
    dead = f"redis://127.0.0.1:{closed_port()}/0"
    urls = [dead, dead.replace("/0", "/1"), f"{redis_url.rpartition('/')[0]}/9"]
    queue = f"failover-{uuid4()}"
    url = ";".join(urls) if how == "semicolons" else urls
    with running_worker(tmp_path, "-P", "solo", "-Q", queue, broker=";".join(urls), backend=redis_url) as worker:
        client = App("client", broker_url=url, backend=redis_url)
        assert client.connection().alt == urls
        assert client.send_task("proj.add", (1, 2), queue=queue).get(timeout=30) == 3
        client.close()
        assert worker.stop() == 0


def test_a_strategy_for_the_next_address_may_be_ones_own(redis_url):
    dead, mine = f"redis://127.0.0.1:{closed_port()}/0", f"{redis_url.rpartition('/')[0]}/9"
    asked = []

    def always_mine(urls):
        while True:
            asked.append(list(urls))
            yield mine

    app = App("client", broker_url=[dead, dead], broker_failover_strategy=always_mine)
    with app.connection() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        assert connection.virtual_host == "9"
    assert asked
    with pytest.raises(KernelError, match="it is 'round-robin', 'shuffle', or a function"):
        App("client", broker_failover_strategy="nearest").conf["broker_failover_strategy"]
    app.close()


def test_tasks_may_be_published_elsewhere_than_they_are_fetched(redis_url):
    reading, writing = (f"{redis_url.rpartition('/')[0]}/{number}" for number in (9, 10))
    app = App("client", broker="redis://nowhere", broker_read_url=reading, broker_write_url=writing)
    queue = f"elsewhere-{uuid4()}"
    sent = app.send_task("proj.add", (1, 2), queue=queue)
    with app.connection() as connection:
        assert connection.virtual_host == "9"
        with pytest.raises(connection.channel_errors, match="no queue"):
            connection.SimpleQueue(queue).qsize()
    with app.connection(write=True) as connection:
        message = connection.SimpleQueue(queue).get(timeout=30)
        assert message.headers["id"] == sent.id
        message.ack()
    app.close()


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed; try: apt-get install openssl")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(words, check=True, capture_output=True)
    return tmp_path


def test_tls_is_spoken_to_the_broker(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    heard: list[bytes] = []

    def serve(server):
        peer, _ = server.accept()
        with context.wrap_socket(peer, server_side=True) as stream:
            heard.append(stream.recv(4))

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        tls = {"ca_certs": str(certificate / "cert.pem"), "cert_reqs": ssl.CERT_REQUIRED}
        app = App("client", broker=f"amqp://127.0.0.1:{server.getsockname()[1]}//", broker_use_ssl=tls)
        with pytest.raises(OSError), app.connection() as connection:
            connection.transport.establish_connection()
        thread.join(30)
    assert heard == [b"AMQP"]
    app.close()


def test_the_login_method_is_the_settings(amqp_url):
    app = App("client", broker=amqp_url, broker_login_method="AMQPLAIN")
    with app.connection() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        assert connection.connected
    app.conf.broker_login_method = "NO-SUCH-METHOD"
    with pytest.raises(Exception, match="NO-SUCH-METHOD"), app.connection() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
    app.close()


def test_the_broker_has_so_long_to_answer():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://127.0.0.1:{silent.getsockname()[1]}//"
        app = App("client", broker=url, broker_connection_timeout=0.2, task_publish_retry=False)
        with pytest.raises(Exception, match="timed out"):
            app.send_task("proj.add", (1, 2))
        app.close()


def test_the_first_connection_may_have_to_succeed_at_once(tmp_path):
    dead = f"redis://127.0.0.1:{closed_port()}/0"
    app = 'from bootsteps_tasks import App\napp = App("proj", broker_connection_retry_on_startup=False)\n'
    (tmp_path / "proj.py").write_text(app)
    worker = WorkerProcess(tmp_path, "-P", "solo", broker=dead)
    try:
        assert worker.wait() == 1
        assert "trying again" not in worker.log
    finally:
        worker.process.kill()


# The worker


def test_a_worker_has_a_queue_of_its_own_under_celerys_name(tmp_path, client):
    app = TASKS.replace('App("proj")', 'App("proj", worker_direct=True)')
    with running_worker(tmp_path, "-P", "solo", "-n", "mine@here", app=app) as worker:
        worker.until_logged("consuming from celery, mine@here.dq2")
        found = client.send_task("proj.whoami", exchange="C.dq2", routing_key="mine@here").get(timeout=30)
        assert found["hostname"] == "mine@here"
        assert worker.stop() == 0
    nodenames = pytest.importorskip("celery.utils.nodenames")
    from bootsteps_consumer_tasks.queues import direct_queue

    theirs, ours = nodenames.worker_direct("mine@here"), direct_queue("mine@here")
    assert (ours.name, ours.exchange.name, ours.exchange.type, ours.routing_key) == (
        theirs.name, theirs.exchange.name, theirs.exchange.type, theirs.routing_key,
    )  # fmt: skip


@pytest.mark.parametrize("flag", ["--purge", "--discard"])
def test_what_waits_can_be_deleted_before_the_start(tmp_path, client, flag):
    old = [client.send_task("proj.add", (1, number)) for number in range(3)]
    with running_worker(tmp_path, "-P", "solo", flag) as worker:
        worker.until_logged("3 messages deleted from celery")
        assert client.send_task("proj.add", (20, 3)).get(timeout=30) == 23
        assert [result.state for result in old] == ["PENDING"] * 3
        assert worker.stop() == 0


def test_further_modules_are_imported(tmp_path, client):
    for name in ("more", "and_more"):
        (tmp_path / f"{name}.py").write_text(
            f"from proj import app\n@app.task(name='{name}')\ndef f():\n    return 5\n"
        )
    with running_worker(tmp_path, "-P", "solo", "-I", "more,and_more") as worker:
        assert [client.send_task(name).get(timeout=30) for name in ("more", "and_more")] == [5, 5]
        assert worker.stop() == 0


def test_root_does_not_unpickle(monkeypatch):
    monkeypatch.delenv("C_FORCE_ROOT", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    check_root(("json",))
    with pytest.raises(KernelError, match="must not accept pickle") as caught:
        check_root(("json", "pickle"))
    assert "--uid NAME" in caught.value.fix
    check_root(("json", "pickle"), becomes=1000)
    monkeypatch.setenv("C_FORCE_ROOT", "1")
    check_root(("application/x-python-serialize",))
    monkeypatch.delenv("C_FORCE_ROOT")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    check_root(("json", "pickle"))


# Tasks and messages


def test_annotations_go_before_a_tasks_own_options():
    app = App("annotated", task_annotations={"*": {"rate_limit": "5/s"}, "sum": {"acks_late": False, "priority": 3}})

    @app.task(name="sum", priority=8, rate_limit="1/s")
    def sum_(x, y):
        return x + y

    @app.task(name="other")
    def other():
        """Nothing."""

    assert (sum_.rate_limit, sum_.acks_late, sum_.priority) == ("5/s", False, 3)
    assert (other.rate_limit, other.acks_late, other.priority) == ("5/s", True, None)


def test_annotations_that_come_later_hold_when_the_worker_loads_and_may_be_handlers_and_objects():
    app, failed = App("annotated-later"), []

    @app.task(name="fails")
    def fails():
        raise ValueError

    class Slow:
        def annotate(self, task):
            return {"rate_limit": "1/m"} if task.name == "fails" else None

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        failed.append((self.name, type(exc)))

    app.conf.task_annotations = [{"fails": {"on_failure": on_failure}}, Slow()]
    app.load()
    assert fails.rate_limit == "1/m"
    assert fails.apply().state == "FAILURE"
    assert failed == [("fails", ValueError)]
    with pytest.raises(KernelError, match=r"task\.name"):
        compose(App("wrong", worker_pool="solo", task_annotations={"x": 5}), Catalogue(scan()), "worker")


def test_a_task_published_by_a_task_has_its_priority_if_that_is_wanted():
    app = App("inherit", broker=f"memory://{uuid4()}", task_inherit_parent_priority=True)
    with executing(Context(id="parent", task="parent", called_directly=False, delivery_info={"priority": 7})):
        assert app.publish("child", None, None, {}).message.priority == 7
        assert app.publish("child", None, None, {"priority": 2}).message.priority == 2
    assert app.publish("orphan", None, None, {}).message.priority is None
    app.close()


def test_arguments_are_shown_so_deep():
    shown = {}
    for depth in (1, 4):
        app = App("deep", broker=f"memory://{uuid4()}", task_repr_maxlevels=depth)
        shown[depth] = app.publish("deep", ([[["bottom"]]],), None, {}).message.headers["argsrepr"]
        app.close()
    assert "bottom" in shown[4]
    assert "bottom" not in shown[1]


def test_states_and_errors_are_stored_as_the_settings_say(tmp_path, client):
    settings = "task_track_started=True, task_ignore_result=True, task_store_errors_even_if_ignored=True"
    with running_worker(tmp_path, "-c", "1", app=TASKS.replace('App("proj")', f'App("proj", {settings})')) as worker:
        failed, quiet = client.send_task("proj.fail", ("x",)), client.send_task("proj.add", (1, 2))
        with pytest.raises(ValueError, match="x"):
            failed.get(timeout=30)
        worker.until_logged(f"proj.add[{quiet.id}] succeeded")
        assert quiet.state == "PENDING"
        assert worker.stop() == 0


def test_eager_results_are_stored_if_that_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for wanted, state in ((False, "PENDING"), (True, "SUCCESS")):
        app = App(f"eager-{wanted}", task_always_eager=True, task_store_eager_result=wanted)

        @app.task(name="two")
        def two():
            return 2

        assert app.AsyncResult(two.delay().id).state == state
        app.close()
