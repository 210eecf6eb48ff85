#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# boot/fleet/kubernetes: the image, and what the manifests make of it under the default
# profiles of containerd's CRI, which a kubelet drives (tests/fleet/pods/kubelet does
# here what a kubelet would), and of podman, which takes a pod's YAML itself. What runs
# is the manifests themselves, each time with one thing changed by yq; the guests are
# bare-metal ones. Everything runs in tests/fleet/pods/inside. (There is no controller
# of jobs here: pods of a Job are started one by one.)

# shellcheck source=tests/lib.sh
. tests/lib.sh

LIMIT=30
NEEDS="buildah podman containerd runc protoc yq jq musl-gcc socat /usr/lib/cni/ptp
	/usr/lib/python3/dist-packages/grpc /usr/lib/python3/dist-packages/google/protobuf
	/usr/lib/python3/dist-packages/yaml"

[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP pods are started by root"
	exit 0
}
for need in $NEEDS; do
	command -v "$need" >/dev/null || [ -e "$need" ] || {
		echo "1..0 # SKIP no $need: tests/deps/packages install fleet"
		exit 0
	}
done
VALIDATE=build/fleet/venv/bin/kubernetes-validate
[ -n "${MOTE_PODS_VAR-}" ] || {
	# The schemas of Kubernetes; within, there is no network to fetch them.
	tests/fleet/python kubernetes-validate==1.37.0 >"$out" 2>&1 </dev/null ||
		sed 's/^/# /' "$out"
	tap_end
	exec tests/fleet/pods/inside "$0"
}

DIR=boot/fleet/kubernetes
POD=$DIR/pod.yaml
JOB=$DIR/job.yaml
VERSIONS="1.29 1.33 1.37"

export PYTHONPATH="$tmp/gen" KUBELET_DIR=/var/lib/kubelet
export KUBELET_SOCKET=/run/containerd/containerd.sock
export KUBELET_DEVICES="squat.ai/kvm=/dev/kvm"

skip() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

# -- manifests ----------------------------------------------------------------

# What yq filters here may call.
YQ='def spec: if .kind == "Job" then .spec.template.spec else .spec end;
def edit(f): if .kind == "Job" then .spec.template.spec |= f else .spec |= f end;
def args(f): edit(.containers[0].args |= f);
def arg(name; value): args(map(if startswith("--" + name + "=") then
	"--" + name + "=" + value else . end));
def guest(name): arg("kernel"; "/" + name + ".elf");
def more(word): args([word] + .);
def without(name): args(map(select(startswith("--" + name) | not)));
def command(f): args(if index("--") then .[:index("--")] + f else . end);'

# variant FILE FILTER: the manifest with a change
variant() {
	yq -y "$YQ $2" "$1"
}

# seconds FILE FILTER: a number of the manifest, whose s goes
seconds() {
	yq -r "$YQ $2" "$1" | sed 's/^--grace=\([0-9]*\)s$/\1/'
}

# -- containerd ---------------------------------------------------------------

containerd_up() {
	protoc -I tests/fleet/pods --python_out="$tmp/gen" cri.proto || return
	mkdir -p /run/cni
	cat >/run/cni/pods.conf <<-'END'
	{ "cniVersion": "0.4.0", "name": "pods", "type": "ptp", "ipam": {
		"type": "host-local", "subnet": "10.88.0.0/16",
		"dataDir": "/run/cni/net" } }
	END
	# What a node needs to run at all where it may not lower its OOM score, and
	# for pods of other users than root, whom the device's node is to belong to.
	cat >/run/containerd.toml <<-'END'
	version = 2
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "localhost/pause:latest"
	  restrict_oom_score_adj = true
	  device_ownership_from_security_context = true
	  [plugins."io.containerd.grpc.v1.cri".cni]
	    bin_dir = "/usr/lib/cni"
	    conf_dir = "/run/cni"
	END
	containerd -c /run/containerd.toml >"$tmp/containerd.log" 2>&1 &
	for image in mote-guest pause; do
		buildah push -q "localhost/$image" \
			"oci-archive:$tmp/$image.tar:localhost/$image:latest" || return
	done
	await ctr version >/dev/null || return
	for image in mote-guest pause; do
		ctr -n k8s.io image import "$tmp/$image.tar" || return
	done
}

# pod FILE FILTER [INDEX]: starts it; $name, and $log, where it writes to
pod() {
	file=$1
	variant "$1" "$2" >"$tmp/variant.yaml"
	shift 2
	run tests/fleet/pods/kubelet start "$tmp/variant.yaml" "$@"
	name=$(cat "$out")
	[ -n "$name" ] || name=$(yq -r .metadata.name "$file")${1+-$1}
	log=$KUBELET_DIR/$name.log
}

# over: how it ended, "STATUS REASON", and its words in $tmp/log; then it is removed
over() {
	run tests/fleet/pods/kubelet wait "$name"
	ended=$(cat "$out")
	sed 's/^[^ ]* //' "$log" >"$tmp/log"
	run tests/fleet/pods/kubelet remove "$name"
	cat "$tmp/log" >>"$err"
	rm -f "$log"
}

# pod_ends FILE FILTER WANTED NAME [INDEX]: a test of how it ends by itself
pod_ends() {
	pod "$1" "$2" ${5+"$5"}
	over
	is "$ended" "$3" "$4"
}

# kube_says TEXT: it has printed it
kube_says() {
	grep -q -e "$1" "$log"
}

# event NAME KEY: of the events in the log
event() {
	sed -n "s/^stderr F \(.*\"event\":\"$1\".*\)/\1/p" "$tmp/log" | jq -r ".$2"
}

# -- podman -------------------------------------------------------------------

podman_up() {
	cat >/run/containers.conf <<-'END'
	[containers]
	devices = ["/dev/kvm"]
	[engine]
	cgroup_manager = "cgroupfs"
	events_logger = "file"
	infra_image = "localhost/pause"
	END
	export CONTAINERS_CONF=/run/containers.conf
}

# play FILTER: podman runs the pod
play() {
	variant "$POD" "$1" >"$tmp/variant.yaml"
	# conmon leaves a file where it is started, should it see one over its limit.
	# shellcheck disable=SC2016 # expanded there
	run sh -c 'cd "$0" && exec podman kube play --network none variant.yaml' "$tmp"
	name='guest-mote'
}

# play_says TEXT: it has printed it. (The log has a line in pieces, and what goes to
# standard error between them.)
play_says() {
	podman logs "$name" 2>"$err" | grep -q -e "$1"
}

# played: its status, $ended, and its words in $tmp/log; then it is removed. (What killed
# it podman 4.3 does not know with version 1 of cgroups.)
played() {
	run podman wait "$name"
	ended=$(podman inspect --format '{{.State.ExitCode}}' "$name")
	podman logs "$name" >"$tmp/log" 2>"$tmp/log.err"
	cat "$tmp/log.err" >>"$tmp/log"
	run podman kube down "$tmp/variant.yaml"
	cp "$tmp/log" "$err"
}

# play_ends FILTER WANTED NAME
play_ends() {
	play "$1"
	played
	is "$ended" "$2" "$3"
}

# -- the image ----------------------------------------------------------------

image() {
	run "$DIR/mote-image" "$@"
}

mkdir -p "$tmp/gen" "$tmp/a" "$tmp/b"
cp "$MOTE" "$tmp/a/mote"
cp "$MOTE" "$tmp/b/mote"
touch -d 2001-01-01 "$tmp/b/mote"
image -m "$tmp/a/mote"
is "$status" 0 "buildah makes an image of mote, without a daemon"
first=$(cat "$out")
image -m "$tmp/b/mote" -t localhost/again
is "$(cat "$out")" "$first" \
	"the same mote, older and elsewhere, is the same image to the last byte"
digests=$(buildah images --format '{{.Digest}}' localhost/mote
	buildah images --format '{{.Digest}}' localhost/again)
is "$(echo "$digests" | sort -u | wc -l)" 1 "and has the same digest in a registry"
BUILDAH=podman image -m "$tmp/a/mote" -t localhost/by-podman
is "$status $(cat "$out")" "0 $first" "podman makes the same image"
printf x >>"$tmp/b/mote"
image -m "$tmp/b/mote" -t localhost/again
is "$([ "$(cat "$out")" != "$first" ] && echo another)" another \
	"one byte more in mote is another image"
buildah push -q localhost/mote "dir:$tmp/image"
is "$(jq '.layers | length' "$tmp/image/manifest.json")" 1 "the image has one layer"
layer=$(jq -r '.layers[0].digest' "$tmp/image/manifest.json")
is "$(tar -tvf "$tmp/image/${layer#sha256:}" | awk '{ print $1, $2, $6 }')" \
	"-rwxr-xr-x 0/0 mote" \
	"in the image there is mote and nothing else, which only root may write to"
is "$(buildah inspect --type image localhost/mote | jq -c '.OCIv1.config |
	[.User, .Entrypoint, .StopSignal, .Labels["org.opencontainers.image.version"]]')" \
	"[\"1000:1000\",[\"/mote\"],\"SIGTERM\",\"$("$MOTE" -V | sed -n '1s/^mote //p')\"]" \
	"the image runs mote as an ordinary user, ends by SIGTERM and names its version"
image -m "$tmp/a/mote" "$tmp/none"
is "$status $(cat "$err")" "1 mote-image: $tmp/none: no such file" \
	"a file that is not there is refused"
image -m "$tmp/a/mote" "$tmp/a/mote"
is "$status $(cat "$err")" \
	"1 mote-image: $tmp/a/mote: /mote is the program's name" \
	"a file that would lie over mote is refused"

mkdir "$tmp/guest" "$tmp/pause"
for guest in exit memory panic button hang hello virtio_write vsock_dial; do
	cp "$GUESTS/$guest.elf" "$tmp/guest/"
done
cp "$GUESTS/exit.elf" "$tmp/guest/vmlinux"
truncate -s 1M "$tmp/root-1.img"
ln -s ../root-1.img "$tmp/guest/root.img"
image -b localhost/mote -t localhost/mote-guest "$tmp/guest"/*
is "$status" 0 "a guest's files make an image on top of that of mote"

# What holds the namespaces of a pod; clusters have one of their own.
cat >"$tmp/pause.c" <<-'END'
#include <signal.h>
#include <unistd.h>
int main(void)
{
	signal(SIGTERM, _exit);
	for (;;)
		pause();
}
END
musl-gcc -static -o "$tmp/pause/pause" "$tmp/pause.c" &&
	printf 'FROM scratch\nCOPY pause /\nENTRYPOINT ["/pause"]\n' \
		>"$tmp/pause/Containerfile" &&
	run buildah build --isolation chroot -t localhost/pause "$tmp/pause"

# -- what the manifests say ---------------------------------------------------

# validate VERSION FILE...
validate() {
	version=$1
	shift
	run "$VALIDATE" --strict --quiet \
		--kubernetes-version "$version" "$@"
}

if [ -x "$VALIDATE" ]; then
	for version in $VERSIONS; do
		validate "$version" "$POD" "$JOB"
		is "$status" 0 "Kubernetes $version has all fields of the manifests"
	done
	variant "$POD" 'edit(.containers[0].securityContext.readOnlyRootFileSystem = true)' \
		>"$tmp/wrong.yaml"
	validate "$version" "$tmp/wrong.yaml"
	like "$status $(cat "$out" "$err")" '^1 .*|readOnlyRootFileSystem' \
		"a field that Kubernetes does not have is found"
else
	skip "the manifests have fields that Kubernetes has" \
		"kubernetes-validate was not to be had from PyPI"
fi

for file in "$POD" "$JOB"; do
	grace=$(seconds "$file" 'spec.containers[0].args[] |
		select(startswith("--grace="))')
	period=$(seconds "$file" 'spec.terminationGracePeriodSeconds')
	ok "${file##*/}: mote gives up a deaf guest before the kubelet kills it" \
		test "$grace" -lt "$period"
done
is "$(yq -c "$YQ spec | del(.containers[0].args)" "$JOB")" \
	"$(yq -c "$YQ spec | del(.containers[0].args)" "$POD")" \
	"pods of the Job are as the Pod, but for their arguments"
# The first rule that fits; as the manual of Jobs has it, and not as one was seen to.
is "$(yq -r '.spec.podFailurePolicy.rules as $rules | [123, 124, 125, 3] | .[] |
	. as $status | first($rules[] | select(.onExitCodes) |
	select(if .onExitCodes.operator == "In" then
		.onExitCodes.values | index($status)
	else .onExitCodes.values | index($status) | not end)) |
	"\($status) \(.action)"' "$JOB")" \
	"123 Count
124 FailJob
125 FailJob
3 FailJob" "a Job tries a guest that died again, and nothing else"

# -- containerd, and its default profile --------------------------------------

containerd_up >"$out" 2>"$err"
is $? 0 "containerd has the images"

pod_ends "$POD" 'more("--append=status=7")' "7 Error" \
	"the pod ends with the guest's status"
is "$(sed -n 's/^stdout F //p' "$tmp/log")" "status 7" \
	"what the guest prints is the pod's output"
is "$(event start event) $(event exit reason) $(event exit status)" \
	"start exited 7" "events are in the pod's log"
pod_ends "$POD" 'more("--append=status=0")' "0 Completed" \
	"a guest that ends with 0 completes its pod"
pod_ends "$POD" 'guest("panic")' "123 Error" "a guest that panics is 123"
is "$(event exit reason)" panic "the log says that it was a panic"
pod_ends "$POD" 'guest("hang") | more("--timeout=100ms")' "124 Error" \
	"a guest out of time is 124"
pod_ends "$POD" 'guest("none")' "125 Error" "a guest without a kernel is 125"
like "$(cat "$tmp/log")" '^stderr F mote: .*none.elf' "the log says what is missing"
pod_ends "$POD" 'edit(del(.containers[0].resources.limits["squat.ai/kvm"]))' \
	"125 Error" "a pod that asks for no device has none"
like "$(cat "$tmp/log")" '^stderr F mote: .*/dev/kvm: No such file' \
	"the log says that /dev/kvm is missing"

# 256 MiB, all of it touched, in what the manifest allows
pod_ends "$POD" 'args(map(sub("^--memory=.*"; "&,prefault"))) |
	args(map(sub("&"; "--memory=256M"))) | more("--append=status=7")' "7 Error" \
	"the manifest's limit has room for all of the guest's memory"
pod_ends "$POD" 'guest("memory") | arg("memory"; "512M") |
	more("--append=step=4096")' "137 OOMKilled" \
	"a guest that uses more than the limit is killed"
is "$(event start event) $(event exit reason)" "start " \
	"a guest that is killed leaves no exit event"
pod_ends "$POD" 'arg("memory"; "512M,prefault")' "125 Error" \
	"with prefault it is refused at the start"
like "$(cat "$tmp/log")" '^stderr F mote: --memory: .* MiB left; give a smaller' \
	"the log says what the limit leaves"
pod_ends "$POD" 'arg("memory"; "4G") | more("--append=status=7")' "7 Error" \
	"memory that a guest does not touch does not count"

# -- its rights

pod "$POD" 'guest("hang") | more("--log=info")'
await kube_says hanging
container=$(jq -r .container "$KUBELET_DIR/guest/state")
ctr -n k8s.io container info "$container" | jq .Spec >"$tmp/spec.json"
is "$(jq -c '[.process.user.uid, .process.noNewPrivileges,
	([.process.capabilities // {} | .[]?] | length), .root.readonly,
	.linux.seccomp.defaultAction, (.linux.resources.devices |
	map(select(.allow and .major == 10)) | length)]' "$tmp/spec.json")" \
	'[1000,true,0,true,"SCMP_ACT_ERRNO",1]' \
	"the pod is an ordinary user, without capabilities, filtered, and has /dev/kvm"
is "$(jq -r '.mounts[] | select(.options | index("rw")) | .destination' \
	"$tmp/spec.json" | sort | tr '\n' ' ')" "/dev/shm /tmp " \
	"nothing is mounted for writing but the scratch directory and shared memory"
run tests/fleet/pods/kubelet remove "$name"
said=$(sed 's/^[^ ]* //' "$log")
rm -f "$log"
like "$said" 'sandbox: no namespaces: .*seccomp profile that allows unshare' \
	"mote says that RuntimeDefault allows no namespaces, and what would"
like "$said" 'sandbox: no capabilities, the bounding set is empty' \
	"mote has no capabilities"
like "$said" 'sandbox: loading thread: [0-9]* rules for system calls' \
	"mote has filters of its own besides"

# The overlay is written to: virtio_write's disk is /root.img, which it may only read.
pod_ends "$POD" 'guest("virtio_write") | more("--append=byte=120")' "0 Completed" \
	"a guest writes to its disk, from an image that is read-only"
is "$(grep -c 'overlay' "$tmp/log")" 0 "what it wrote lies in the scratch directory"
pod_ends "$POD" 'guest("virtio_write") | edit(del(.volumes,
	.containers[0].env, .containers[0].volumeMounts))' "0 Completed" \
	"without a scratch directory a guest writes to its disk, too"
like "$(cat "$tmp/log")" 'its overlay in memory takes memory' \
	"without a scratch directory mote says that what the guest writes takes memory"

# -- its end

pod "$POD" 'guest("button")'
await kube_says waiting
run tests/fleet/pods/kubelet stop "$name"
over
is "$ended $(event exit reason)" "0 Completed poweroff" \
	"a pod that is deleted has its power button pressed"
pod "$POD" 'guest("hang") | arg("grace"; "1s")'
await kube_says hanging
run tests/fleet/pods/kubelet stop "$name"
over
is "$ended $(event exit reason)" "143 Error signal" \
	"a deaf guest ends by --grace, and says so"
pod "$POD" 'guest("hang") | edit(.terminationGracePeriodSeconds = 1)'
await kube_says hanging
run tests/fleet/pods/kubelet stop "$name"
over
is "$ended $(event exit reason)" "137 Error " \
	"a grace period shorter than --grace kills a deaf guest, which says nothing"

# -- streams between it and what else is in the pod

pod "$POD" 'guest("vsock_dial") | without("disk") | more("--vsock=/tmp/v")'
await kube_says dialling
printf 'host here\n' | timeout "$LIMIT" socat -t 3 - \
	"UNIX-LISTEN:$KUBELET_DIR/$name/volumes/tmp/v_1234,mode=666" >"$tmp/heard"
over
is "$ended $(cat "$tmp/heard")" "0 Completed guest calling" \
	"the guest reaches what listens in the scratch directory"

# -- the Job

for index in 0 3; do
	pod_ends "$JOB" "command([]) | without(\"env\") |
		more(\"--append=status=\$(JOB_COMPLETION_INDEX)\")" \
		"$index $([ $index -eq 0 ] && echo Completed || echo Error)" \
		"pod $index of the Job knows its number" "$index"
done
pod_ends "$JOB" 'more("--check")' "0 Completed" \
	"mote takes all of the Job's arguments" 1
pod_ends "$POD" 'more("--check")' "0 Completed" "mote takes all of the pod's arguments"
is "$(ctr -n k8s.io containers list -q; ls "$KUBELET_DIR")" "" \
	"nothing of a pod is left"

# -- podman, and its default profile ------------------------------------------

podman_up
# A host that lets its users have guests; as above it would be root alone.
chmod 666 /dev/kvm

play_ends 'more("--append=status=7")' "7" \
	"podman: the pod ends with the guest's status"
like "$(cat "$tmp/log")" '"event":"exit","reason":"exited","status":7' \
	"podman: events are in the pod's log"
play_ends 'guest("panic")' "123" "podman: a guest that panics is 123"
play_ends 'guest("hang") | more("--timeout=100ms")' "124" \
	"podman: a guest out of time is 124"
play_ends 'guest("none")' "125" "podman: a guest without a kernel is 125"
play_ends 'guest("memory") | arg("memory"; "512M") | more("--append=step=4096")' \
	"137" "podman: a guest that uses more than the limit is killed"
play_ends 'guest("virtio_write") | more("--append=byte=120")' "0" \
	"podman: a guest writes to its disk, from an image that is read-only"

play 'guest("hang") | more("--log=info") | arg("grace"; "1s")'
await play_says hanging
is "$(podman inspect --format '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}
	{{.HostConfig.SecurityOpt}} {{.EffectiveCaps}} {{.HostConfig.Memory}}' \
	"$name" | xargs)" "1000:1000 true [no-new-privileges] [] 285212672" \
	"podman takes the rights and limits from the same YAML"
run podman stop -t 30 "$name"
played
is "$ended" "143" "podman: a deaf guest ends by --grace"
like "$(cat "$tmp/log")" 'sandbox: mount, ipc, uts .*in a user namespace' \
	"podman's default profile leaves mote its namespaces"
like "$(cat "$tmp/log")" 'sandbox: the root directory is empty and read-only' \
	"podman's default profile leaves mote its empty root"
play 'guest("button")'
await play_says waiting
run podman stop -t 30 "$name"
played
is "$ended" "0" "podman: a pod that is stopped has its power button pressed"
play 'guest("hang")'
await play_says hanging
run podman stop -t 1 "$name"
played
is "$ended" "137" "podman: a deaf guest without the time to give up is killed"
play 'guest("vsock_dial") | without("disk") | more("--vsock=/tmp/v")'
await play_says dialling
volume=$(podman volume inspect --format '{{.Mountpoint}}' tmp)
printf 'host here\n' | timeout "$LIMIT" socat -t 3 - \
	"UNIX-LISTEN:$volume/v_1234,mode=666" >"$tmp/heard"
played
is "$ended $(cat "$tmp/heard")" "0 guest calling" \
	"podman: the guest reaches what listens in the scratch directory"
is "$(podman ps -aq; podman pod ps -q; podman volume ls -q)" "" \
	"podman: nothing of a pod is left"

done_testing
