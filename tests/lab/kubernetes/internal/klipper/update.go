package klipper

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// state is a release as `helm status` tells of it; without a release all are empty.
type state struct {
	status, revision, applyMethod string
}

func (j *Job) state() state {
	j.trace.line("read -r STATUS REVISION APPLY_METHOD _")
	sub := j.trace.sub()
	args := []string{"status", "--namespace", j.Namespace, j.Name, "--output", "json"}
	sub.command(append([]string{"helm"}, args...)...)
	sub.command("jq", "-r", "[.info.status,.version,.apply_method]|@tsv")
	output, _ := j.helm(call{capture: true, args: args})
	var found struct {
		Info struct {
			Status string `json:"status"`
		} `json:"info"`
		Version     int    `json:"version"`
		ApplyMethod string `json:"apply_method"`
	}
	if json.Unmarshal(output, &found) != nil || found.Version == 0 {
		return state{}
	}
	return state{found.Info.Status, strconv.Itoa(found.Version), found.ApplyMethod}
}

// update brings the release to what the arguments say, whatever state an earlier job or person left it in.
//
// Two oddities of the script are kept: a failed `helm upgrade` ends it by `exit`, a failed `helm install` without one; and
// with the policy `retry` a failed upgrade ends with 0, so that the Job counts as complete.
func (j *Job) update() int {
	found := j.state()
	ssa := j.ssaArgs(found.revision, found.applyMethod)
	j.valueArgs = j.values()
	j.trace.test(j.Args[0], "=", "delete")
	if j.Args[0] == "delete" {
		return j.delete(found)
	}
	j.trace.testOne("-z", found.revision)
	if found.revision == "" {
		j.trace.testOne("-z", found.status)
		if status := j.install(ssa); status != 0 {
			return status
		}
		j.trace.command("exit")
		return 0
	}
	if j.overtaken(found) {
		return 0
	}
	interrupted := []string{"pending-install", "pending-upgrade", "pending-rollback", "superseded", "uninstalling"}
	j.trace.test(found.status, "=~", "^("+strings.Join(interrupted, "|")+")$")
	if slices.Contains(interrupted, found.status) {
		if status := j.reset(found); status != 0 {
			// `set +e` of the revision's check still counts: the script goes on.
			fmt.Fprintln(j.trace.out, "set-status ended with", status)
		}
		if found.status == "pending-upgrade" || found.status == "superseded" {
			j.say("Retrying upgrade of helm chart")
			j.echoQuoted("Retrying upgrade of " + j.Name)
			return j.upgrade(ssa)
		}
		j.trace.assign("STATUS", "failed")
		found.status = "failed"
	}
	j.trace.test(found.status, "=~", "^deployed$")
	if found.status == "deployed" {
		j.echoQuoted("Already installed " + j.Name)
		j.mapKubeAPIs()
		j.say("Upgrading helm chart")
		j.echoQuoted("Upgrading " + j.Name)
		return j.upgrade(ssa)
	}
	j.trace.test(found.status, "=~", "^(deleted|failed|null|unknown)$")
	if slices.Contains([]string{"deleted", "failed", "null", "unknown"}, found.status) {
		return j.failed(found, ssa)
	}
	return j.install(ssa)
}

// failed deals with a release that is in a bad state.
func (j *Job) failed(found state, ssa []string) int {
	policy := j.FailurePolicy
	if policy == "" {
		policy = "reinstall"
	}
	j.trace.line(`case "${FAILURE_POLICY:-reinstall}" in`)
	switch policy {
	case "abort":
		text := fmt.Sprintf("Release status is '%s' and failure policy is '%s'; waiting for operator intervention", found.status, policy)
		j.say(text)
		j.echoQuoted(text)
		j.trace.command("exit", "1")
		return 1
	case "reinstall":
		j.say("Uninstalling " + found.status + " helm chart")
		j.run("", "uninstall", j.Name, "--namespace", j.Namespace, "--wait")
		j.echo("Deleted")
		status := j.install(j.ssaArgs("", ""))
		j.trace.command("exit")
		return status
	case "retry":
		j.say("Upgrading " + j.Name + " from failed state")
		j.upgradeWith(ssa)
		j.trace.command("exit", "0")
		return 0
	}
	text := "Unknown failure policy '" + policy + "'"
	j.say(text)
	j.echoQuoted(text)
	j.trace.command("exit", "1")
	return 1
}

func (j *Job) delete(found state) int {
	j.trace.testOne("-z", found.revision)
	if found.revision == "" {
		j.say("No helm chart installed; nothing to delete")
		j.trace.command("exit")
		return 0
	}
	if j.overtaken(found) {
		return 0
	}
	j.say("Uninstalling helm chart")
	if j.run("", "uninstall", j.Name, "--namespace", j.Namespace, "--wait") != 0 {
		j.trace.command("true")
	}
	j.trace.command("exit")
	return 0
}

// overtaken tells whether another hand has moved the release since the controller made this job.
func (j *Job) overtaken(found state) bool {
	j.trace.command("check_revision", found.revision)
	j.trace.command("set", "-e")
	j.trace.assign("REVISION", found.revision)
	j.trace.testOne("-n", j.ExpectedRevision)
	if j.ExpectedRevision == "" || j.ExpectedRevision == found.revision {
		j.trace.command("set", "+e")
		return false
	}
	text := fmt.Sprintf("Current release revision %s does not match expected revision %s", found.revision, j.ExpectedRevision)
	j.say(text)
	j.echoQuoted(text)
	j.trace.command("exit")
	return true
}

// reset ends a pending state, which helm by itself would refuse to leave; the original has a plugin of helm for it.
func (j *Job) reset(found state) int {
	j.echo("Previous helm job was interrupted, updating status from " + found.status + " to failed")
	j.say("Resetting helm release status from '" + found.status + "' to 'failed'")
	j.trace.command("helm", "set-status", "--namespace", j.Namespace, j.Name, "failed")
	records, err := j.releases()
	if err == nil {
		err = records.markFailed(j.Name)
	}
	if err != nil {
		fmt.Fprintln(j.trace.out, "Error:", err)
		return 1
	}
	return 0
}

func (j *Job) install(ssa []string) int {
	j.say("Installing helm chart")
	args := slices.Concat(j.Args, []string{j.Name, j.Chart}, j.sourceArgs(), ssa, j.valueArgs)
	return j.run("", args...)
}

func (j *Job) upgrade(ssa []string) int {
	status := j.upgradeWith(ssa)
	j.trace.command("exit")
	return status
}

func (j *Job) upgradeWith(ssa []string) int {
	j.trace.command("shift", "1")
	args := slices.Concat([]string{"upgrade"}, j.Args[1:], []string{j.Name, j.Chart}, j.sourceArgs(), ssa, j.valueArgs)
	return j.run("", args...)
}

func (j *Job) sourceArgs() []string {
	return slices.Concat(j.caArgs, j.insecureArgs, j.plainArgs, j.timeoutArgs, j.labelArgs)
}

// mapKubeAPIs stands for a plugin of the original that looks for removed APIs in the release; the lab's chart has none.
func (j *Job) mapKubeAPIs() {
	j.trace.command("helm", "mapkubeapis", j.Name, "--namespace", j.Namespace)
	for _, text := range []string{
		"Release '%s' will be checked for deprecated or removed Kubernetes APIs and will be updated if necessary to supported API versions.",
		"Get release '%s' latest version.",
		"Check release '%s' for deprecated or removed APIs...",
		"Finished checking release '%s' for deprecated or removed APIs.",
		"Release '%s' has no deprecated or removed APIs.",
		"Map of release '%s' deprecated or removed APIs to supported versions, completed successfully.",
	} {
		fmt.Fprintf(j.trace.out, "%s "+text+"\n", now().UTC().Format("2006/01/02 15:04:05"), j.Name)
	}
}

// ssaArgs are the flags about server-side apply: `auto` is for upgrades alone, and conflicts can only be forced by it.
func (j *Job) ssaArgs(revision, applyMethod string) []string {
	sub := j.trace.sub()
	sub.command("get_ssa_args", revision, applyMethod, j.ServerSide, j.ForceConflicts)
	sub.command("set", "-e")
	sub.assign("REVISION", revision)
	sub.assign("APPLY_METHOD", applyMethod)
	sub.assign("SERVER_SIDE", j.ServerSide)
	sub.assign("FORCE_CONFLICTS", j.ForceConflicts)
	serverSide, force := j.ServerSide, j.ForceConflicts
	sub.testOne("-z", revision)
	if revision == "" {
		sub.test(serverSide, "=~", "^auto$")
		if serverSide == "auto" {
			serverSide = "true"
			sub.assign("SERVER_SIDE", serverSide)
		}
	}
	sub.test(force, "=~", "^true$")
	if force == "true" && serverSide == "auto" && applyMethod != "ssa" {
		force = "false"
		sub.assign("FORCE_CONFLICTS", force)
	}
	var args []string
	sub.testOne("-n", serverSide)
	if serverSide != "" {
		args = append(args, "--server-side="+serverSide)
		sub.command("echo", "-n", args[0]+" ")
	}
	sub.testOne("-n", force)
	if force != "" {
		args = append(args, "--force-conflicts="+force)
		sub.command("echo", "-n", args[len(args)-1]+" ")
	}
	sub.command("echo")
	sub.command("set", "+e")
	j.trace.assign("SSA_ARGS", strings.Join(args, " ")+" ")
	return args
}
