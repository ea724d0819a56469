package klogat

import (
	"bytes"
	"flag"
	"regexp"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

func TestLinesLookLikeKlog(t *testing.T) {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if err := flags.Set("v", "2"); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	defer SetOutput(&text)()
	status := 0
	exit = func(code int) { status = code }
	Info(4, "a.go:1", "too much")
	Info(2, "slicer_cloud_provider.go:64", "Slicer: K3S URL=%s", "https://a")
	Warning("b.go:2", "w")
	Error("slicer_node_group.go:198", "e")
	Fatal("slicer_cloud_provider.go:85", "f")
	head := `\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ `
	wanted := "^I" + head + `slicer_cloud_provider\.go:64\] Slicer: K3S URL=https://a\nW` + head + `b\.go:2\] w\nE` + head +
		`slicer_node_group\.go:198\] e\nF` + head + `slicer_cloud_provider\.go:85\] f\n$`
	if !regexp.MustCompile(wanted).MatchString(text.String()) || status != 255 {
		t.Errorf("status %d, lines\n%s", status, text.String())
	}
}

func TestQuotaSaysHowManyItLeftOut(t *testing.T) {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if err := flags.Set("v", "4"); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	defer SetOutput(&text)()
	quota := NewQuota()
	for range 23 {
		quota.Info(1, "Pod %s is unschedulable", "default/p")
	}
	quota.Rest(1, "%v other pods are also unschedulable")
	if lines := strings.Count(text.String(), "\n"); lines != 21 || !strings.Contains(text.String(), "klogx.go:87] 3 other pods are also unschedulable") {
		t.Errorf("%d lines:\n%s", lines, text.String())
	}
}
