package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/join"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
	"slicer-k3s.lab/kubernetes/internal/passwd"
	"slicer-k3s.lab/kubernetes/internal/server"
	"slicer-k3s.lab/kubernetes/internal/token"
)

const (
	tokenType   = corev1.SecretType("bootstrap.kubernetes.io/token")
	tokenPrefix = "bootstrap-token-"
)

func tokens(args []string) int {
	root := &cobra.Command{Use: "token", Short: "Manage tokens", SilenceUsage: true, SilenceErrors: true}
	dataDir := root.PersistentFlags().StringP("data-dir", "d", config.DefaultDataDir, "folder to hold state")
	file := root.PersistentFlags().String("kubeconfig", server.AdminKubeconfig, "kubeconfig of an administrator")
	root.AddCommand(tokenCreate(dataDir, file), tokenDelete(file), tokenList(file), tokenRotate(dataDir), &cobra.Command{
		Use: "generate", Args: cobra.NoArgs, Short: "Generate and print a bootstrap token, but do not create it on the server",
		RunE: func(*cobra.Command, []string) error {
			fresh, err := token.NewBootstrap()
			if err == nil {
				fmt.Println(fresh.ID + "." + fresh.Secret)
			}
			return err
		},
	})
	return execute(root, args)
}

// execute runs a command tree; a wrong flag fails in the original's words.
func execute(root *cobra.Command, args []string) int {
	root.SetArgs(args)
	if err := root.Execute(); err != nil {
		return fatal(err)
	}
	return 0
}

func administrator(path string) (*kubernetes.Clientset, error) {
	rest, err := kubeconfig.Load(path)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(rest)
}

func tokenCreate(dataDir, file *string) *cobra.Command {
	command := &cobra.Command{Use: "create [token]", Args: cobra.MaximumNArgs(1), Short: "Create bootstrap tokens on the server"}
	ttl := command.Flags().Duration("ttl", 24*time.Hour, "duration before the token is automatically deleted; 0 never expires")
	description := command.Flags().String("description", "", "human friendly description of how this token is used")
	command.RunE = func(c *cobra.Command, args []string) error {
		fresh, err := token.NewBootstrap()
		if len(args) == 1 {
			if fresh, err = token.Parse(args[0], ""); err == nil && fresh.ID == "" {
				err = errors.New("the bootstrap token is not of the form \"[a-z0-9]{6}.[a-z0-9]{16}\"")
			}
		}
		if err != nil {
			return err
		}
		ca, err := os.ReadFile(*dataDir + "/server/tls/server-ca.crt")
		if err != nil {
			return err
		}
		client, err := administrator(*file)
		if err != nil {
			return err
		}
		data := map[string]string{
			"token-id": fresh.ID, "token-secret": fresh.Secret, "description": *description,
			"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
			"auth-extra-groups": "system:bootstrappers:k3s:default-node-token",
		}
		if *ttl > 0 {
			data["expiration"] = time.Now().Add(*ttl).UTC().Format(time.RFC3339)
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: tokenPrefix + fresh.ID, Namespace: metav1.NamespaceSystem}, Type: tokenType, StringData: data}
		if _, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Create(c.Context(), secret, metav1.CreateOptions{}); err != nil {
			return err
		}
		fresh.CAHash = token.HashCA(ca)
		fmt.Println(fresh)
		return nil
	}
	return command
}

func tokenDelete(file *string) *cobra.Command {
	return &cobra.Command{Use: "delete token...", Args: cobra.MinimumNArgs(1), Short: "Delete bootstrap tokens on the server", RunE: func(c *cobra.Command, args []string) error {
		client, err := administrator(*file)
		if err != nil {
			return err
		}
		for _, given := range args {
			id, _, _ := strings.Cut(given, ".")
			if parsed, err := token.Parse(given, ""); err == nil && parsed.ID != "" {
				id = parsed.ID
			}
			if err := client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(c.Context(), tokenPrefix+id, metav1.DeleteOptions{}); err != nil {
				return err
			}
			fmt.Printf("bootstrap token %q deleted\n", id)
		}
		return nil
	}}
}

func tokenList(file *string) *cobra.Command {
	return &cobra.Command{Use: "list", Aliases: []string{"ls"}, Args: cobra.NoArgs, Short: "List bootstrap tokens on the server", RunE: func(c *cobra.Command, _ []string) error {
		client, err := administrator(*file)
		if err != nil {
			return err
		}
		found, err := client.CoreV1().Secrets(metav1.NamespaceSystem).List(c.Context(), metav1.ListOptions{FieldSelector: "type=" + string(tokenType)})
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(os.Stdout, 10, 4, 3, ' ', 0)
		fmt.Fprintln(table, "TOKEN\tTTL\tEXPIRES\tUSAGES\tDESCRIPTION\tEXTRA GROUPS")
		for _, secret := range found.Items {
			ttl, expires := "<forever>", "<never>"
			if end, err := time.Parse(time.RFC3339, string(secret.Data["expiration"])); err == nil {
				ttl, expires = time.Until(end).Round(time.Minute).String(), end.Format(time.RFC3339)
			}
			fmt.Fprintf(table, "%s.<hidden>\t%s\t%s\tauthentication,signing\t%s\t%s\n", secret.Data["token-id"], ttl, expires, secret.Data["description"], secret.Data["auth-extra-groups"])
		}
		return table.Flush()
	}}
}

func tokenRotate(dataDir *string) *cobra.Command {
	command := &cobra.Command{Use: "rotate", Args: cobra.NoArgs, Short: "Rotate original server token with a new server token"}
	old := command.Flags().StringP("token", "t", os.Getenv("K3S_TOKEN"), "existing token used to join a server or agent to a cluster")
	fresh := command.Flags().String("new-token", os.Getenv("K3S_NEW_TOKEN"), "new token that replaces existing token")
	address := command.Flags().StringP("server", "s", "https://127.0.0.1:6443", "server to connect to")
	command.RunE = func(c *cobra.Command, _ []string) error {
		fmt.Println("\033[33mWARNING\033[0m: Recommended to keep a record of the old token. If restoring from a snapshot, you must use the token associated with that snapshot.")
		ctx := commandContext(c)
		client, err := ownServer(ctx, *address, *old, *dataDir, 0)
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]string{"newToken": *fresh})
		if err != nil {
			return err
		}
		if _, err := client.Send(ctx, http.MethodPut, "/v1-k3s/token", nil, body); err != nil {
			return err
		}
		fmt.Println("Token rotated, restart k3s nodes with new token")
		return nil
	}
	return command
}

func commandContext(c *cobra.Command) context.Context {
	if ctx := c.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// ownServer is the way to a server for its administrator: by the server token given, of whichever form, or by this server's.
func ownServer(ctx context.Context, address, text, dataDir string, limit time.Duration) (*join.Client, error) {
	if text == "" {
		content, err := os.ReadFile(dataDir + "/server/token")
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(string(content))
	}
	return join.Connect(ctx, join.Origin{URL: address, Token: text, User: passwd.Server, Limit: limit})
}
