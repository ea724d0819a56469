package core

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
)

func TestWhatBlocksADrain(t *testing.T) {
	budget := func(allowed int32) []*policyv1.PodDisruptionBudget {
		return []*policyv1.PodDisruptionBudget{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default"},
			Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
			Status:     policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed},
		}}
	}
	with := func(change func(*corev1.Pod)) *corev1.Pod {
		p := pod("p", "n", "100m")
		p.Labels = map[string]string{"app": "web"}
		change(p)
		return p
	}
	owned := func(kind string) *corev1.Pod {
		return with(func(p *corev1.Pod) { p.OwnerReferences[0].Kind = kind })
	}
	annotated := func(value string) *corev1.Pod {
		return with(func(p *corev1.Pod) {
			p.OwnerReferences = nil
			p.Annotations = map[string]string{safeToEvict: value}
		})
	}
	replicated := func(value string) *corev1.Pod {
		return with(func(p *corev1.Pod) { p.Annotations = map[string]string{safeToEvict: value} })
	}
	memory := with(func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}}
	})
	cases := []struct {
		name    string
		pod     *corev1.Pod
		budgets []*policyv1.PodDisruptionBudget
		reason  string
		moving  int
	}{
		{"replicated", owned("ReplicaSet"), nil, "", 1},
		{"daemon set", owned("DaemonSet"), nil, "", 0},
		{"custom controller", owned("Other"), nil, "default/p is not replicated", 0},
		{"budget with room", owned("ReplicaSet"), budget(1), "", 1},
		{"budget without room", owned("ReplicaSet"), budget(0), "not enough pod disruption budget to move default/p", 0},
		{"safe by annotation", annotated("true"), nil, "", 1},
		{"unsafe by annotation", replicated("false"), nil, "pod annotated as not safe to evict present: p", 0},
		{"no controller", annotated("false"), nil, "default/p is not replicated", 0},
		{"memory is no local storage", memory, nil, "", 1},
	}
	o := &options.ScaleDown{SkipSystemPods: true, SkipLocalStorage: true, SkipCustomOwner: true}
	for _, c := range cases {
		moving, reason := podsToMove(newNodeInfo(node("n", nil, "2", true), c.pod), c.budgets, o, time.Now())
		if reason != c.reason || len(moving) != c.moving {
			t.Errorf("%s: %q, %d moving", c.name, reason, len(moving))
		}
	}
}
