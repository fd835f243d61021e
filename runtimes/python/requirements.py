# Says what the files of a function ask pip to install: fermata-invoker build python runs it with the folder of
# the files, and the file for a list that is not there yet. It prints an object in JSON:
#
#   what: in words, pip: its version, file: which file of the folder is the list, if it is one of them,
#   locked: the list has all packages that are needed
#   nothing: why nothing is to be installed
#   refused: why it cannot be known what is
import json
import os
import sys


class Refused(Exception):
    pass


def main(source, path):
    try:
        found = look(source)
        if "nothing" not in found:
            found["pip"] = version()
    except Refused as error:
        found = {"refused": str(error)}
    lines = found.pop("lines", None)
    if lines is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
    print(json.dumps(found))


def version():
    try:
        import pip
    except ImportError:
        raise Refused(f"{sys.executable} has no pip; install it, in Debian as python3-pip") from None
    return pip.__version__


def look(source):
    """The first that is there counts."""
    has = lambda name: os.path.isfile(os.path.join(source, name))
    if has("requirements.txt"):
        with open(os.path.join(source, "requirements.txt"), encoding="utf-8-sig", errors="replace") as file:
            number, others = requirements(file.read())
        if not number and not others:
            return {"nothing": "requirements.txt names no packages"}
        return {"file": "requirements.txt", "what": f"{count(number)} of requirements.txt"}
    if has("pylock.toml"):
        return locked("pylock.toml", pylock(toml(source, "pylock.toml")))
    if has("uv.lock"):
        return locked("uv.lock", uv(toml(source, "uv.lock")))
    if has("pyproject.toml"):
        lines = pyproject(toml(source, "pyproject.toml"))
        if lines:
            return {"lines": lines, "what": f"{count(len(lines))} of pyproject.toml"}
    lines = wheels(source)
    if lines:
        return {"lines": lines, "what": count(len(lines), "wheel")}
    if has("pyproject.toml"):
        return {"nothing": "pyproject.toml has no dependencies in [project]"}
    return {"nothing": "there is no requirements.txt, pylock.toml, uv.lock or pyproject.toml, and no wheel"}


def count(number, what="package"):
    return f"{number} {what}{'' if number == 1 else 's'}"


def locked(name, lines):
    if not lines:
        return {"nothing": f"{name} has no packages for this Python"}
    number = sum(not line.startswith("-") for line in lines)
    return {"lines": lines, "locked": True, "what": f"{count(number)} of {name}"}


def requirements(text):
    """How many packages a list names, and whether it names other lists."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    others = any(line.startswith(("-r", "--requirement", "-e", "--editable")) for line in lines)
    return sum(not line.startswith("-") for line in lines), others


def wheels(source):
    found = []
    for folder, folders, files in os.walk(source):
        folders.sort()
        found += [os.path.join(folder, name) for name in sorted(files) if name.endswith(".whl")]
    return found


def toml(source, name):
    try:
        import tomllib
    except ImportError:
        try:
            from pip._vendor import tomli as tomllib
        except ImportError:
            raise Refused(f"{name} takes Python 3.11 or later; requirements.txt does not") from None
    try:
        with open(os.path.join(source, name), "rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{name} is no TOML: {error}") from None


def pyproject(document):
    project = document.get("project", {})
    if "dependencies" in project.get("dynamic", ()):
        raise Refused("the dependencies of pyproject.toml are dynamic, and nothing is run to find them; write requirements.txt")
    lines = project.get("dependencies", [])
    poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {})
    if not lines and set(poetry) - {"python"}:
        raise Refused("pyproject.toml has its dependencies in [tool.poetry], which is not read; write them into [project] or run `poetry export`")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Refused("project.dependencies of pyproject.toml is no list of texts")
    return lines


def applies(marker, file, extra=""):
    """Whether a marker holds for this Python on this machine."""
    if not marker:
        return True
    version()
    from pip._vendor.packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

    try:
        return Marker(marker).evaluate({"extra": extra})
    except (InvalidMarker, UndefinedEnvironmentName, KeyError):
        raise Refused(f"{file}: the marker {marker!r} cannot be decided here; write requirements.txt") from None


def line(file, package, hashes):
    if not hashes:
        name = package.get("name")
        raise Refused(
            f"{file}: {name} is no package of an index with a hash, which are all that can be installed from it; "
            "write requirements.txt"
        )
    return " ".join([f"{package['name']}=={package['version']}", *(f"--hash={hash}" for hash in sorted(hashes))])


# pylock.toml: https://packaging.python.org/en/latest/specifications/pylock-toml/


def pylock(document):
    lines = []
    for package in document.get("packages", []):
        if not applies(package.get("marker"), "pylock.toml"):
            continue
        archive = package.get("archive", {})
        if archive.get("url"):
            hashes = listed(archive)
            if hashes:
                lines.append(f"{package['name']} @ {archive['url']} " + " ".join(f"--hash={hash}" for hash in hashes))
                continue
        hashes = set()
        for file in [*package.get("wheels", []), package.get("sdist", {})]:
            hashes.update(listed(file))
        lines.append(line("pylock.toml", {**package, "version": package.get("version", "0")}, hashes))
    indexes = {package["index"] for package in document.get("packages", []) if package.get("index")}
    return options(indexes) + lines


def listed(file):
    """The hashes that pip knows."""
    hashes = file.get("hashes", {})
    return [f"{name}:{hashes[name]}" for name in ("sha256", "sha384", "sha512") if name in hashes][:1]


# uv.lock: packages with their dependencies; that of the project itself is the root.


def uv(document):
    packages, roots = {}, []
    for package in document.get("package", []):
        packages.setdefault(package.get("name"), []).append(package)
        source = package.get("source", {})
        if "." in (source.get("virtual"), source.get("editable"), source.get("directory")):
            roots.append(package)
    if not roots:
        raise Refused("uv.lock has no project of its own; run `uv lock`")
    wanted, seen, indexes = {}, set(), set()
    pending = [dependency for root in roots for dependency in root.get("dependencies", [])]
    while pending:
        dependency = pending.pop()
        if not applies(dependency.get("marker"), "uv.lock"):
            continue
        name, version = dependency["name"], dependency.get("version")
        found = [package for package in packages.get(name, []) if version in (None, package.get("version"))]
        if not found:
            raise Refused(f"uv.lock lacks {name}; run `uv lock`")
        package = found[0]
        if package in roots:
            continue
        extras = tuple(dependency.get("extra", ()))
        if (name, package.get("version"), extras) in seen:
            continue
        seen.add((name, package.get("version"), extras))
        if name not in wanted:
            source = package.get("source", {})
            if source.get("registry"):
                indexes.add(source["registry"])
            files = [*package.get("wheels", []), package.get("sdist", {})]
            hashes = {file["hash"] for file in files if file.get("hash")}
            if source.get("url") and hashes:
                wanted[name] = f"{name} @ {source['url']} " + " ".join(f"--hash={hash}" for hash in sorted(hashes))
            else:
                wanted[name] = line("uv.lock", package, hashes if source.get("registry") else ())
        pending += package.get("dependencies", [])
        for extra in extras:
            pending += package.get("optional-dependencies", {}).get(extra, [])
    return options(indexes) + [wanted[name] for name in sorted(wanted)]


def options(indexes):
    """Registries that pip does not ask by itself; every package has a hash, so that they cannot be mixed up."""
    lines = []
    for index in sorted(indexes):
        if index.rstrip("/") == "https://pypi.org/simple":
            continue
        option = "--extra-index-url" if "://" in index and not index.startswith("file:") else "--find-links"
        lines.append(f"{option} {index}")
    return lines


main(*sys.argv[1:])
