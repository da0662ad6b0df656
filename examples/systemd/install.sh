#!/bin/sh
# Puts the package where Fluent Bit finds it. Run it as root, again for an upgrade; then restart Fluent Bit.
set -eu
python3 -m venv /opt/kinesis-fast
/opt/kinesis-fast/bin/pip install --upgrade kinesis-fast
ln -sf "$(/opt/kinesis-fast/bin/kinesis-fast plugin-path)" /opt/kinesis-fast/out_kinesis.so
install -D -m 0644 fluent-bit.yaml /etc/fluent-bit/fluent-bit.yaml
install -D -m 0644 kinesis-fast.conf /etc/systemd/system/fluent-bit.service.d/kinesis-fast.conf
systemctl daemon-reload
/opt/kinesis-fast/bin/kinesis-fast doctor -p region=eu-west-1 -p stream=app-logs
