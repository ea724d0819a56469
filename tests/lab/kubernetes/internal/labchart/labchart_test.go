// Package labchart checks the lab's chart by rendering it; LAB_HELM names the helm to render with.
package labchart

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const manual = `
fullnameOverride: slicer-cluster-autoscaler
image: {repository: docker.io/openfaasltd/cluster-autoscaler-slicer, tag: latest}
cloudProvider: slicer
autoDiscovery: {clusterName: k3s-slicer}
extraVolumeSecrets:
  cluster-autoscaler-cloud-config:
    name: cluster-autoscaler-cloud-config
    mountPath: /etc/slicer/
    items: [{key: cloud-config, path: cloud-config}]
extraArgs:
  cloud-config: /etc/slicer/cloud-config
  scale-down-delay-after-add: "30s"
  expendable-pods-priority-cutoff: -10
  expander: random
`

func render(t *testing.T, values string, more ...string) map[string]string {
	t.Helper()
	helm := os.Getenv("LAB_HELM")
	if helm == "" {
		found, err := exec.LookPath("helm")
		if err != nil {
			t.Skip("no helm: set LAB_HELM")
		}
		helm = found
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"template", "slicer-cluster-autoscaler", "../../../chart", "--namespace", "kube-system", "--values", file}, more...)
	output, err := exec.Command(helm, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	objects := map[string]string{}
	for _, object := range strings.Split(string(output), "\n---\n") {
		var about struct{ Kind string }
		if err := yaml.Unmarshal([]byte(object), &about); err != nil {
			t.Fatal(err)
		}
		objects[about.Kind] = object
	}
	return objects
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return object
}

// The manual patches the role by position; a product adds rules by value.
func TestRoleKeepsItsPositions(t *testing.T) {
	more := "rbac: {additionalRules: [{apiGroups: [\"\"], resources: [nodes], verbs: [delete]}]}\n"
	role := decode[rbacv1.ClusterRole](t, render(t, manual+more)["ClusterRole"])
	nodes := role.Rules[4]
	if !slices.Equal(nodes.Resources, []string{"nodes"}) || !slices.Equal(nodes.Verbs, []string{"watch", "list", "get", "update"}) {
		t.Errorf("rules[4] %+v", nodes)
	}
	if last := role.Rules[len(role.Rules)-1]; !slices.Equal(last.Verbs, []string{"delete"}) {
		t.Errorf("last rule %+v", last)
	}
}

func TestDeploymentOfTheManual(t *testing.T) {
	deployment := decode[appsv1.Deployment](t, render(t, manual)["Deployment"])
	pod := deployment.Spec.Template.Spec
	container := pod.Containers[0]
	if deployment.Name != "slicer-cluster-autoscaler" || container.Image != "docker.io/openfaasltd/cluster-autoscaler-slicer:latest" {
		t.Errorf("name %s, image %s", deployment.Name, container.Image)
	}
	for _, flag := range []string{
		"--cloud-provider=slicer", "--namespace=kube-system", "--cloud-config=/etc/slicer/cloud-config", "--v=4", "--logtostderr=true",
		"--scale-down-delay-after-add=30s", "--expendable-pods-priority-cutoff=-10", "--expander=random",
	} {
		if !slices.Contains(container.Command, flag) {
			t.Errorf("no %s in %v", flag, container.Command)
		}
	}
	if probe := container.LivenessProbe.HTTPGet; probe.Path != "/health-check" || probe.Port.IntValue() != 8085 {
		t.Errorf("probe %+v", probe)
	}
	if mount := container.VolumeMounts[0]; mount.MountPath != "/etc/slicer/" || mount.SubPath != "" {
		t.Errorf("mount %+v", mount)
	}
	if secret := pod.Volumes[0].Secret; secret.SecretName != "cluster-autoscaler-cloud-config" || secret.Items[0].Path != "cloud-config" {
		t.Errorf("secret %+v", secret)
	}
	if pod.PriorityClassName != "system-cluster-critical" || pod.ServiceAccountName != "slicer-cluster-autoscaler" {
		t.Errorf("priority %s, account %s", pod.PriorityClassName, pod.ServiceAccountName)
	}
}

func TestEveryOtherValue(t *testing.T) {
	more := `
replicaCount: 2
podAnnotations: {checksum: abc}
podLabels: {team: lab}
nodeSelector: {node-role.kubernetes.io/control-plane: "true"}
tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {}}
updateStrategy: {type: Recreate}
priorityClassName: other
resources: {requests: {cpu: 50m}}
extraEnv: {HTTPS_PROXY: "http://proxy"}
`
	deployment := decode[appsv1.Deployment](t, render(t, manual+more, "--set", "rbac.serviceAccount.name=mine")["Deployment"])
	template := deployment.Spec.Template
	pod := template.Spec
	if *deployment.Spec.Replicas != 2 || deployment.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("spec %+v", deployment.Spec)
	}
	if template.Annotations["checksum"] != "abc" || template.Labels["team"] != "lab" || deployment.Spec.Selector.MatchLabels["team"] != "lab" || len(pod.Tolerations) != 1 || len(pod.NodeSelector) != 1 {
		t.Errorf("template %+v", template)
	}
	if pod.PriorityClassName != "other" || pod.ServiceAccountName != "mine" || pod.Affinity == nil || pod.Containers[0].Env[0].Name != "HTTPS_PROXY" {
		t.Errorf("pod %+v", pod)
	}
	if pod.Containers[0].Resources.Requests.Cpu().MilliValue() != 50 {
		t.Errorf("resources %+v", pod.Containers[0].Resources)
	}
}

// As the published chart does it, and no better.
func TestFlagsAreTakenAsTheyAre(t *testing.T) {
	more := "  balancing-label_1: a\n  balancing-label_2: b\n  list: [a, b]\n  empty: \"\"\n"
	deployment := decode[appsv1.Deployment](t, render(t, manual+more)["Deployment"])
	command := deployment.Spec.Template.Spec.Containers[0].Command
	for _, flag := range []string{"--balancing-label=a", "--balancing-label=b", "--list=[a b]", "--empty="} {
		if !slices.Contains(command, flag) {
			t.Errorf("no %s in %v", flag, command)
		}
	}
}

func TestNoDeploymentWithoutAClusterName(t *testing.T) {
	if _, found := render(t, "cloudProvider: slicer\n")["Deployment"]; found {
		t.Error("a deployment without autoDiscovery.clusterName")
	}
}

func TestPrioritiesAreMadeOnlyForTheirExpander(t *testing.T) {
	const priorities = "expanderPriorities: {\"0\": [^a$], \"10\": [^b$, ^c$]}\n"
	if _, found := render(t, manual+priorities)["ConfigMap"]; found {
		t.Error("a config map for another expander")
	}
	objects := render(t, manual+priorities, "--set", "extraArgs.expander=priority")
	made := decode[corev1.ConfigMap](t, objects["ConfigMap"])
	read := decode[map[int][]string](t, made.Data["priorities"])
	if made.Name != "cluster-autoscaler-priority-expander" || !slices.Equal(read[10], []string{"^b$", "^c$"}) || !slices.Equal(read[0], []string{"^a$"}) {
		t.Errorf("%s holds %v", made.Name, read)
	}
	role := decode[rbacv1.Role](t, objects["Role"])
	if !slices.Contains(role.Rules[0].Verbs, "list") || !slices.Contains(role.Rules[1].ResourceNames, made.Name) {
		t.Errorf("rules %+v", role.Rules)
	}
}
