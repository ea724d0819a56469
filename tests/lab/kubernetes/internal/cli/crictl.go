package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"slicer-k3s.lab/kubernetes/internal/agent"
)

const (
	shortID  = 13
	criLimit = 5 * time.Minute
)

// crictl is the small part of crictl that people look into a node with.
func crictl(args []string) int {
	root := &cobra.Command{Use: "crictl", Short: "A small part of crictl", SilenceUsage: true, SilenceErrors: true}
	connection, err := agent.Dial()
	if err != nil {
		return fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), criLimit)
	defer cancel()
	root.AddCommand(criVersion(ctx, connection), criPods(ctx, connection), criContainers(ctx, connection), criImages(ctx, connection), criPull(ctx, connection))
	return execute(root, args)
}

func criVersion(ctx context.Context, c grpc.ClientConnInterface) *cobra.Command {
	return &cobra.Command{Use: "version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		v, err := runtimeapi.NewRuntimeServiceClient(c).Version(ctx, &runtimeapi.VersionRequest{})
		if err == nil {
			fmt.Printf("Version:  %s\nRuntimeName:  %s\nRuntimeVersion:  %s\nRuntimeApiVersion:  %s\n", v.Version, v.RuntimeName, v.RuntimeVersion, v.RuntimeApiVersion)
		}
		return err
	}}
}

func criPods(ctx context.Context, c grpc.ClientConnInterface) *cobra.Command {
	return &cobra.Command{Use: "pods", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		list, err := runtimeapi.NewRuntimeServiceClient(c).ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 4, 3, ' ', 0)
		fmt.Fprintln(table, "POD ID\tCREATED\tSTATE\tNAME\tNAMESPACE\tATTEMPT")
		for _, pod := range list.Items {
			state := "Ready"
			if pod.State != runtimeapi.PodSandboxState_SANDBOX_READY {
				state = "NotReady"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\n", short(pod.Id), age(pod.CreatedAt), state, pod.Metadata.Name, pod.Metadata.Namespace, pod.Metadata.Attempt)
		}
		return table.Flush()
	}}
}

func criContainers(ctx context.Context, c grpc.ClientConnInterface) *cobra.Command {
	command := &cobra.Command{Use: "ps", Args: cobra.NoArgs}
	all := command.Flags().BoolP("all", "a", false, "show all containers")
	command.RunE = func(*cobra.Command, []string) error {
		list, err := runtimeapi.NewRuntimeServiceClient(c).ListContainers(ctx, &runtimeapi.ListContainersRequest{})
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 4, 3, ' ', 0)
		fmt.Fprintln(table, "CONTAINER\tIMAGE\tCREATED\tSTATE\tNAME\tATTEMPT\tPOD ID")
		for _, container := range list.Containers {
			if *all || container.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", short(container.Id), short(container.Image.Image), age(container.CreatedAt), stateNames[container.State], container.Metadata.Name, container.Metadata.Attempt, short(container.PodSandboxId))
			}
		}
		return table.Flush()
	}
	return command
}

var stateNames = map[runtimeapi.ContainerState]string{
	runtimeapi.ContainerState_CONTAINER_CREATED: "Created", runtimeapi.ContainerState_CONTAINER_RUNNING: "Running",
	runtimeapi.ContainerState_CONTAINER_EXITED: "Exited", runtimeapi.ContainerState_CONTAINER_UNKNOWN: "Unknown",
}

func criImages(ctx context.Context, c grpc.ClientConnInterface) *cobra.Command {
	return &cobra.Command{Use: "images", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		list, err := runtimeapi.NewImageServiceClient(c).ListImages(ctx, &runtimeapi.ListImagesRequest{})
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 4, 3, ' ', 0)
		fmt.Fprintln(table, "IMAGE\tIMAGE ID\tSIZE")
		for _, image := range list.Images {
			for _, tag := range image.RepoTags {
				fmt.Fprintf(table, "%s\t%s\t%dkB\n", tag, short(image.Id), image.Size/1000)
			}
		}
		return table.Flush()
	}}
}

func criPull(ctx context.Context, c grpc.ClientConnInterface) *cobra.Command {
	return &cobra.Command{Use: "pull image", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		if args[0] == "" {
			return errors.New("image name cannot be empty")
		}
		answer, err := runtimeapi.NewImageServiceClient(c).PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: args[0]}})
		if err == nil {
			fmt.Printf("Image is up to date for %s\n", answer.ImageRef)
		}
		return err
	}}
}

func short(id string) string {
	const digest = "sha256:"
	if len(id) > len(digest) && id[:len(digest)] == digest {
		id = id[len(digest):]
	}
	if len(id) > shortID {
		return id[:shortID]
	}
	return id
}

func age(nanoseconds int64) string {
	return time.Since(time.Unix(0, nanoseconds)).Round(time.Second).String() + " ago"
}
