"""What the programs of a cluster are told: units, their arguments, and files of configuration, as text."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
"""The API server's, for pods."""
API_PORT = 6443
PAUSE = "localhost/pause:1"
"""The image that holds a pod's network."""
PKI = "/etc/kubernetes"
"""Where certificates and configurations lie in each machine."""
CONTROL = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""The units of the machine that all nodes obey."""
NODE = ("containerd", "kubelet", "kube-proxy")
"""Those of a node, in the order in which they start."""


def pods_of(number: int) -> str:
    """The addresses of the pods on a node."""
    return f"10.244.{number}.0/24"


def kubeconfig(
    server: str, authority: Path | str, user: dict[str, object], namespace: str = "default"
) -> str:
    """How a client reaches `server`: by `user`, as the format has it."""
    context = {"cluster": "cluster", "user": "user", "namespace": namespace}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "cluster", "cluster": {"server": server, "certificate-authority": str(authority)}}
            ],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "context", "context": context}],
            "current-context": "context",
        },
        indent=1,
    )


def control_units(program: Path, address: str, *, grace: int, eviction: int) -> dict[str, str]:
    """The units of the control plane. `grace` and `eviction` are seconds, as `start_cluster` has them."""
    etcd = "http://127.0.0.1:2379"
    accounts = f"{PKI}/service-accounts"
    commands: dict[str, dict[str, object]] = {
        "etcd": {
            "data-dir": "/var/lib/etcd",
            "listen-client-urls": etcd,
            "advertise-client-urls": etcd,
            "listen-peer-urls": "http://127.0.0.1:2380",
            "unsafe-no-fsync": "true",  # the machine's disk is memory
        },
        "kube-apiserver": {
            "etcd-servers": etcd,
            "advertise-address": address,
            "secure-port": API_PORT,
            "tls-cert-file": f"{PKI}/server.crt",
            "tls-private-key-file": f"{PKI}/server.key",
            "client-ca-file": f"{PKI}/ca.crt",
            "kubelet-client-certificate": f"{PKI}/server.crt",
            "kubelet-client-key": f"{PKI}/server.key",
            "kubelet-preferred-address-types": "InternalIP",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-signing-key-file": f"{accounts}.key",
            "service-account-key-file": f"{accounts}.pub",
            "service-cluster-ip-range": SERVICES,
            "allow-privileged": "true",
            "default-not-ready-toleration-seconds": eviction,
            "default-unreachable-toleration-seconds": eviction,
        },
        "kube-controller-manager": {
            "kubeconfig": f"{PKI}/kube-controller-manager.kubeconfig",
            "service-account-private-key-file": f"{accounts}.key",
            "root-ca-file": f"{PKI}/ca.crt",
            "use-service-account-credentials": "true",
            "node-monitor-grace-period": f"{grace}s",
            "leader-elect": "false",
            "secure-port": 0,
        },
        "kube-scheduler": {
            "kubeconfig": f"{PKI}/kube-scheduler.kubeconfig",
            "leader-elect": "false",
            "secure-port": 0,
        },
    }
    return {
        name: _unit([str(program), name, *(f"--{option}={value}" for option, value in options.items())])
        for name, options in commands.items()
    }


def node_units(program: Path, name: str, address: str) -> dict[str, str]:
    """The units of a node."""
    kubelet = ["--config", f"{PKI}/kubelet.json", "--kubeconfig", f"{PKI}/kubelet.kubeconfig"]
    kubelet += ["--node-ip", address, "--hostname-override", name]
    return {
        # It writes the times of logs as its node's clock shows them.
        "containerd": _unit(
            ["/usr/bin/containerd", "--config", f"{PKI}/containerd.toml"], TZ="Asia/Shanghai"
        ),
        "kubelet": _unit([str(program), "kubelet", *kubelet]),
        "kube-proxy": _unit([str(program), "kube-proxy", "--config", f"{PKI}/kube-proxy.json"]),
    }


def node_files(number: int, name: str, *, grace: int) -> dict[str, str]:
    """The configurations of a node's programs, by the paths where they are read."""
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        # The machine cannot lower anybody's oom_score_adj, nor write the kernel's own settings.
        "featureGates": {"KubeletInUserNamespace": True},
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": max(4, grace // 2),  # renewed four times as often
        "resolvConf": "",
        "maxPods": 100,
    }
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": name,
        "clientConnection": {"kubeconfig": f"{PKI}/kube-proxy.kubeconfig"},
        "conntrack": {"maxPerCore": 0},  # the limit is the whole machine's
    }
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "subnet": pods_of(number), "routes": [{"dst": "0.0.0.0/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {
        f"{PKI}/kubelet.json": json.dumps(kubelet),
        f"{PKI}/kube-proxy.json": json.dumps(proxy),
        f"{PKI}/containerd.toml": _CONTAINERD,
        f"{PKI}/start-node": _START,
        f"{PKI}/cni/pods.conflist": json.dumps(
            {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
        ),
    }


REGISTRIES = "/etc/containerd/certs.d"
"""Where a node looks how a registry is reached."""
_CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{PKI}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{REGISTRIES}"
"""
_START = f"""\
#!/bin/sh
# After each boot, before the node's programs. kubelet writes some settings of the kernel, which are not the machine's:
# it leaves alone what is right already, so files lie over them that say so.
set -eu
mount --make-rshared /
[ -e /dev/kmsg ] || ln -s null /dev/kmsg
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    file=/run/$(basename "${{setting%=*}}")
    echo "${{setting#*=}}" >"$file"
    mount --bind "$file" "/proc/sys/${{setting%=*}}"
done
sysctl -qw net.ipv4.ip_forward=1
# What pods say to the world outside of the cluster comes from the node: nobody there knows the way back to a pod.
nft 'add table ip outside; add chain ip outside leaving {{ type nat hook postrouting priority 100; }}
     add rule ip outside leaving ip saddr {PODS} ip daddr != {PODS} oifname eth0 masquerade'
while [ $# -gt 0 ]; do
    ip route replace "$1" via "$2"
    shift 2
done
"""


def _unit(command: list[str], **variables: str) -> str:
    more = "".join(f"Environment={name}={value}\n" for name, value in variables.items())
    return f"""\
[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart={shlex.join(command)}
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
{more}Restart=always
RestartSec=1
Delegate=yes
KillMode=process
"""
