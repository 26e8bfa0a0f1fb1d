# syntax=docker/dockerfile:1
# geodns in a container: a wheel and its dependencies built in one stage, installed without compilers in the other.
#
#   docker build -t geodns .
#   docker run -p 53:53/udp -p 53:53/tcp -v /etc/geodns:/etc/geodns:ro -v geodns:/var/lib/geodns geodns
#
# The configuration must listen on 0.0.0.0:53 (and [::]:53), since 127.0.0.1 is the container's own.

FROM python:3.13-slim-bookworm AS build
WORKDIR /src
# The native engine wants a compiler; the second stage does without.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY src ./src
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim-bookworm
# Port 53 without root: the capability sits on a copy of the interpreter, which nothing else in the image uses. (--copies
# makes one copy for each of its names; the names must lead to the one with the capability, whichever a script was given.)
# It is set here and not in the first stage, because COPY may lose it. Some runtimes drop all capabilities: then
# this one must be given back (Kubernetes: securityContext.capabilities.add: ["NET_BIND_SERVICE"]).
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    apt-get update \
    && apt-get install --yes --no-install-recommends libcap2-bin \
    && python -m venv --copies /opt/geodns \
    && ln --symbolic --force python /opt/geodns/bin/python3 \
    && ln --symbolic --force python /opt/geodns/bin/python3.13 \
    && /opt/geodns/bin/pip install --no-cache-dir --no-index --find-links /wheels geodns \
    && /opt/geodns/bin/geodns --version | grep --fixed-strings '(native)' \
    && setcap cap_net_bind_service=+ep /opt/geodns/bin/python \
    && apt-get purge --yes --auto-remove libcap2-bin \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10053 geodns \
    && useradd --system --uid 10053 --gid 10053 --home-dir /var/lib/geodns --no-create-home --shell /usr/sbin/nologin geodns \
    && install --directory --owner geodns --group geodns /var/lib/geodns /etc/geodns

ENV STATE_DIRECTORY=/var/lib/geodns PYTHONUNBUFFERED=1
# by number, so that Kubernetes can tell that it is not root
USER 10053:10053
VOLUME ["/var/lib/geodns"]
EXPOSE 53/udp 53/tcp
# REFUSED for a name that nobody serves is a reply: it tells that the daemon is there, whatever its zones are
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m --retries=3 \
    CMD ["/opt/geodns/bin/python", "-m", "geodns.ask", "@127.0.0.1", "-p", "53", "health.invalid", "A"]
ENTRYPOINT ["/opt/geodns/bin/geodns"]
CMD ["serve", "--config", "/etc/geodns/geodns.yaml"]
