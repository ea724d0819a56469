package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/etcd"
)

const snapshotLimit = 5 * time.Minute

func snapshots(args []string) int {
	root := &cobra.Command{Use: "etcd-snapshot", Short: "Manage etcd snapshots", SilenceUsage: true, SilenceErrors: true}
	dataDir := root.PersistentFlags().StringP("data-dir", "d", config.DefaultDataDir, "folder to hold state")
	given := root.PersistentFlags().String("etcd-snapshot-dir", "", "directory to save snapshots in")
	name := root.PersistentFlags().String("name", "on-demand", "base name of the snapshot")
	dir := func() string {
		if *given != "" {
			return *given
		}
		return filepath.Join(*dataDir, "server", "db", "snapshots")
	}
	root.AddCommand(&cobra.Command{Use: "save", Args: cobra.NoArgs, Short: "Trigger an immediate etcd snapshot", RunE: func(*cobra.Command, []string) error {
		node, err := os.Hostname()
		if err != nil {
			return err
		}
		path := filepath.Join(dir(), fmt.Sprintf("%s-%s-%d", *name, node, time.Now().Unix()))
		if err := etcd.Save(filepath.Join(*dataDir, "server", "tls", "etcd"), path, snapshotLimit); err != nil {
			return err
		}
		fmt.Printf("Snapshot %s saved.\n", filepath.Base(path))
		return nil
	}}, &cobra.Command{Use: "ls", Aliases: []string{"list", "l"}, Args: cobra.NoArgs, Short: "List snapshots", RunE: func(*cobra.Command, []string) error {
		return listSnapshots(os.Stdout, dir())
	}}, &cobra.Command{Use: "delete name...", Args: cobra.MinimumNArgs(1), Short: "Delete given snapshots", RunE: func(_ *cobra.Command, names []string) error {
		for _, name := range names {
			if name != filepath.Base(name) {
				return fmt.Errorf("invalid snapshot name %q", name)
			}
			if err := os.Remove(filepath.Join(dir(), name)); err != nil {
				return err
			}
			fmt.Printf("Snapshot %s deleted.\n", name)
		}
		return nil
	}})
	return execute(root, args)
}

func listSnapshots(out io.Writer, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 4, 1, ' ', 0)
	fmt.Fprintln(table, "Name\tLocation\tSize\tCreated")
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		fmt.Fprintf(table, "%s\tfile://%s\t%d\t%s\n", entry.Name(), filepath.Join(dir, entry.Name()), info.Size(), info.ModTime().UTC().Format(time.RFC3339))
	}
	return table.Flush()
}
