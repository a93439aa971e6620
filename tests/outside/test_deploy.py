"""What the image and deploy/ are made of agree with each other and with what the server says."""

import json
import re
import shutil
import subprocess
import sys

import promql_parser
import pytest
import yaml
from unetd_process import BUILD, PATIENCE, ROOT, run_unetd

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/unetd.json").read_text())
CONFIG = json.loads((ROOT / "config/docker.json").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]


def port_of(key):
    return int(CONFIG["server"][key].rsplit(":", 1)[1])


def mounts(service):
    """{path in the container: path in the tree} of the service's bind mounts."""
    listed = [volume.split(":") for volume in COMPOSE["services"][service]["volumes"]]
    return {inside: DEPLOY / host for host, inside, *_ in listed if host.startswith(".")}


def bindings(checked, folder):
    """What --check printed, wherever the models lie."""
    assert checked.returncode == 0, checked.stderr
    return re.sub(r"fingerprint \w+", "", checked.stdout).replace(str(folder), "config")


# The image.


def test_hadolint_finds_nothing():
    tool = shutil.which("hadolint", path=f"{sys.prefix}/bin")
    done = subprocess.run([tool, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_images_config_is_the_shipped_one_on_every_address():
    shipped = json.loads((ROOT / "config/unetd.json").read_text())
    assert CONFIG["models"] == shipped["models"]
    assert set(CONFIG) == {"server", *shipped}
    addresses = [CONFIG["server"][key] for key in ("address", "http_address")]
    assert addresses == ["0.0.0.0:8001", "0.0.0.0:8002"]
    exposed = re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.M).group(1).split()
    assert exposed == [str(port_of("address")), str(port_of("http_address"))]


def test_the_image_gives_the_server_time_to_drain():
    # docker stop waits 10 s before it kills; unetd itself takes up to 2 s for answers to leave.
    assert CONFIG["server"]["limits"]["drain_s"] + 2 < 10


def test_an_installed_server_finds_its_backends_and_its_config(tmp_path):
    command = ["cmake", "--install", BUILD, "--prefix", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    arguments = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.M).group(1)
    config = json.loads(arguments)[1].replace("/usr/local", str(tmp_path))
    expected = bindings(run_unetd("--check", "--config", ROOT / "config/unetd.json"), ROOT / "config")
    for arguments in ([], ["--config", config]):
        done = subprocess.run(
            [tmp_path / "bin/unetd", "--check", *arguments], cwd="/", capture_output=True, text=True, timeout=PATIENCE
        )
        assert bindings(done, tmp_path / "share/unetd") == expected
    assert (tmp_path / "bin/unetctl").exists() and (tmp_path / "share/unetd/LICENSE").exists()


# The services.


def test_compose_confines_the_server():
    server = COMPOSE["services"]["unetd"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert (DEPLOY / server["build"]).resolve() == ROOT


def test_compose_publishes_to_this_machine_only():
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)
    inside = [int(port.rsplit(":", 1)[1]) for port in COMPOSE["services"]["unetd"]["ports"]]
    assert inside == [port_of("address"), port_of("http_address")]


def test_every_mount_is_there():
    for service in ("prometheus", "grafana"):
        assert mounts(service)
        for inside, path in mounts(service).items():
            assert path.exists(), (service, inside)


def test_prometheus_reads_the_server():
    (job,) = PROMETHEUS["scrape_configs"]
    (targets,) = job["static_configs"]
    (target,) = targets["targets"]
    host, port = target.split(":")
    assert host in COMPOSE["services"]
    assert int(port) == port_of("http_address")


def test_promtool_finds_nothing():
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool (Debian's prometheus) is not there")
    done = subprocess.run([tool, "check", "config", DEPLOY / "prometheus.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_prometheus_and_the_dashboard():
    provisioning = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus" and source["isDefault"]
    assert re.fullmatch(r"http://(\w+):9090", source["url"]).group(1) in COMPOSE["services"]
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/unetd.yaml").read_text())["providers"]
    found = mounts("grafana")[provider["options"]["path"]] / "unetd.json"
    assert json.loads(found.read_text())["uid"] == "unetd"
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{found.name}"


# The dashboard.


def selectors(expression):
    """Every series that a query reads."""
    if isinstance(expression, promql_parser.VectorSelector):
        return [expression]
    below = []
    for name in ("lhs", "rhs", "expr", "vector_selector", "args"):
        value = getattr(expression, name, [])
        below += value if isinstance(value, list) else [value]
    return [found for part in below for found in selectors(part)]


@pytest.fixture(scope="module")
def scraped(shared):
    """{series: its labels} of a real scrape."""
    series = {}
    for line in shared.metrics().splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line)
        if match:
            series[match.group(1)] = set(re.findall(r'(\w+)="', match.group(2) or ""))
    return series


def test_panels_do_not_overlap():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, (panel["title"], taken[cell])
            taken[cell] = panel["title"]


def test_panels_ask_the_chosen_source():
    listed = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(listed) == ["datasource", "model", "variant"]
    targets = [target for panel in PANELS for target in panel["targets"]]
    for part in [listed["model"], listed["variant"], *PANELS, *targets]:
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("query", TARGETS)
def test_a_query_reads_what_the_server_tells(query, scraped):
    plain = query.replace("$__rate_interval", "1m").replace("$model", ".*").replace("$variant", ".*")
    assert "$" not in plain
    expression = promql_parser.parse(plain)
    read = selectors(expression)
    assert read
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", plain) for label in labels.split(", ")}
    for selector in read:
        assert selector.name in scraped, f"/metrics has no {selector.name}"
        labels = scraped[selector.name] | {"instance", "job"}  # Prometheus' own
        used = {matcher.name for matcher in selector.matchers.matchers} | grouped
        assert used <= labels, f"{selector.name} has no label {used - labels}"


@pytest.mark.parametrize("variable", ["model", "variant"])
def test_a_variable_reads_what_the_server_tells(variable, scraped):
    (query,) = (v["query"] for v in DASHBOARD["templating"]["list"] if v["name"] == variable)
    name, label = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", query).groups()
    assert label == variable and label in scraped[name]
