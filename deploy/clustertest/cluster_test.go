package clustertest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cluster is the one of all tests here. Each has a namespace of its own.
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

// release is in a namespace of the test's own, by the name of shop.
func release(t *testing.T, namespace string) *Release {
	t.Helper()
	r, err := cluster.NewRelease(t.Context(), namespace, "shop")
	if err != nil {
		t.Fatal(err)
	}
	// What a test has left behind costs the others time.
	t.Cleanup(func() {
		if err := cluster.Client.CoreV1().Namespaces().Delete(context.Background(), namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return r
}
