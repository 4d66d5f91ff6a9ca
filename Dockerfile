# A CPU server: docker compose up. Keys and journal live in the volume /data; docs/operating.md says how to make a key.
# torch's wheels for CPUs make an image of a tenth of the size: --build-arg PIP_EXTRA_INDEX_URL=(where you get them).
FROM python:3.11-slim

ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /srv/microturn
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m pip install --no-cache-dir . \
    && useradd --create-home --uid 1000 microturn \
    && mkdir /data \
    && chown microturn /data

USER 1000
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8000/healthz', timeout=3)"]
ENTRYPOINT ["microturn"]
CMD ["serve", "--host", "0.0.0.0", "--keys", "/data/keys.jsonl", "--journal", "/data/journal.db"]
