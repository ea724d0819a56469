package cli

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"slicer-k3s.lab/kubernetes/internal/config"
)

const expiresSoon = 120 * 24 * time.Hour

func certificates(args []string) int {
	root := &cobra.Command{Use: "certificate", Short: "Manage K3s certificates", SilenceUsage: true, SilenceErrors: true}
	dataDir := root.PersistentFlags().StringP("data-dir", "d", config.DefaultDataDir, "folder to hold state")
	root.AddCommand(&cobra.Command{Use: "check", Args: cobra.NoArgs, Short: "Check component certificates on disk", RunE: func(*cobra.Command, []string) error {
		table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(table, "FILENAME\tSUBJECT\tEXPIRES\tRESIDUAL TIME\tSTATUS")
		if err := eachCertificate(*dataDir, func(path string, certificate *x509.Certificate) error {
			status, left := "OK", time.Until(certificate.NotAfter)
			if left < 0 {
				status = "EXPIRED"
			} else if left < expiresSoon {
				status = "WARNING"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%dd\t%s\n", filepath.Base(path), certificate.Subject, certificate.NotAfter.Format(time.RFC3339), int(left.Hours()/24), status)
			return nil
		}); err != nil {
			return err
		}
		return table.Flush()
	}}, &cobra.Command{Use: "rotate", Args: cobra.NoArgs, Short: "Rotate K3s component certificates on disk", RunE: func(*cobra.Command, []string) error {
		if err := eachCertificate(*dataDir, func(path string, certificate *x509.Certificate) error {
			if certificate.IsCA {
				return nil
			}
			return os.Remove(path)
		}); err != nil {
			return err
		}
		fmt.Println("Successfully removed the certificates in use, please restart k3s server or agent to rotate certificates")
		return nil
	}})
	return execute(root, args)
}

func eachCertificate(dataDir string, do func(string, *x509.Certificate) error) error {
	for _, dir := range []string{filepath.Join(dataDir, "server", "tls"), filepath.Join(dataDir, "agent")} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			if entry.IsDir() {
				if entry.Name() == "containerd" {
					return fs.SkipDir
				}
				return nil
			}
			if !strings.HasSuffix(path, ".crt") {
				return nil
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			block, _ := pem.Decode(content)
			if block == nil {
				return nil
			}
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return do(path, certificate)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
