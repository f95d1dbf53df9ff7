package clustertest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cluster is shared by all tests. Each uses its own namespaces.
var cluster *Cluster

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx := context.Background()
	programs, err := FindPrograms(ctx, os.Stderr)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if cluster, err = StartCluster(ctx, programs); err != nil {
		return 0, err
	}
	fmt.Fprintf(os.Stderr, "Kubernetes %s runs after %.1f s\n", programs.Version, time.Since(begin).Seconds())
	return m.Run(), cluster.Stop()
}

// release returns a release named shop in a new namespace.
func release(t *testing.T, namespace string) *Release {
	t.Helper()
	r, err := cluster.NewRelease(t.Context(), namespace, "shop")
	if err != nil {
		t.Fatal(err)
	}
	// Objects left behind would slow down other tests.
	t.Cleanup(func() {
		namespaces := cluster.Client.CoreV1().Namespaces()
		if err := namespaces.Delete(context.Background(), namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return r
}
