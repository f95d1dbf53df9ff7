// Package clustertest installs charts in a real Kubernetes: etcd, the API server
// with its admission, the controllers and the scheduler, each as in production.
// Only the machines that run containers are played (kubelet.go), and nothing
// leaves loopback.
package clustertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A Cluster is a Kubernetes control plane that this process started.
type Cluster struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	Kubelet *Kubelet

	config     *rest.Config // with administrator rights
	kubeconfig string       // the same, as a file
	dir        string
	processes  []*process // in start order
	cancel     context.CancelFunc
}

// StartCluster starts a cluster and waits until its nodes and custom resource definitions are
// registered. It runs until Stop, or until this process ends.
func StartCluster(ctx context.Context, programs Programs) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "shelfcast-cluster-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, cancel: func() {}}
	if err := c.start(ctx, programs); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Stop stops everything that StartCluster started, and removes its files.
func (c *Cluster) Stop() error {
	c.cancel()
	if c.Kubelet != nil {
		c.Kubelet.wait()
	}
	for i := range c.processes {
		c.processes[len(c.processes)-1-i].stop()
	}
	return os.RemoveAll(c.dir)
}

func (c *Cluster) start(ctx context.Context, programs Programs) error {
	etcd, err := c.startEtcd(programs)
	if err != nil {
		return err
	}
	if err := c.startAPIServer(ctx, programs, etcd); err != nil {
		return err
	}
	common := []string{
		"--kubeconfig=" + c.kubeconfig, "--leader-elect=false",
		"--secure-port=0",                              // nothing connects to them
		"--kube-api-qps=1000", "--kube-api-burst=2000", // for parallel tests
	}
	if _, err := c.run(programs.ControllerManager, append(slices.Clone(common),
		"--service-account-private-key-file="+c.path("accounts.key"),
		"--root-ca-file="+c.path("apiserver.crt"),
		// The simulated nodes send no heartbeats.
		"--controllers=*,-node-lifecycle-controller",
		"--horizontal-pod-autoscaler-sync-period=1s",
	)...); err != nil {
		return err
	}
	if _, err := c.run(programs.Scheduler, common...); err != nil {
		return err
	}
	if err := c.define(ctx); err != nil {
		return err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	c.Kubelet, err = startKubelet(own, c.Client)
	return err
}

// startEtcd starts etcd and returns its URL.
func (c *Cluster) startEtcd(programs Programs) (string, error) {
	var urls [2]string
	for i := range urls {
		port, err := freePort()
		if err != nil {
			return "", err
		}
		urls[i] = fmt.Sprintf("http://127.0.0.1:%d", port)
	}
	client, peer := urls[0], urls[1]
	_, err := c.run(programs.Etcd,
		"--name=test", "--data-dir="+c.path("etcd"), "--initial-cluster=test="+peer,
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer)
	return client, err
}

// startAPIServer starts the API server, creates the clients and waits until it is ready.
func (c *Cluster) startAPIServer(ctx context.Context, programs Programs, etcd string) error {
	key := c.path("accounts.key")
	if err := writeKey(key); err != nil {
		return err
	}
	token := rand.Text()
	tokens := c.path("tokens.csv")
	if err := os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	server, err := c.run(programs.APIServer,
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--cert-dir="+c.dir,               // for the certificate that it generates
		"--endpoint-reconciler-type=none", // otherwise it rejects a loopback address
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--token-auth-file="+tokens, "--authorization-mode=Node,RBAC",
		"--allow-privileged=true") // so that pod security does the rejecting
	if err != nil {
		return err
	}
	c.config = &rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", port), BearerToken: token, QPS: -1,
		WarningHandler:  rest.NoWarnings{}, // the tests list deprecated resources too; a release has its own handler
		TLSClientConfig: rest.TLSClientConfig{CAFile: c.path("apiserver.crt")},
	}
	if err := server.until(ctx, func() error { return c.connect(ctx) }); err != nil {
		return err
	}
	return c.writeKubeconfig()
}

// connect creates the clients. It fails until the API server has generated its certificate and is
// ready.
func (c *Cluster) connect(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return err
	}
	c.Client = client
	c.Dynamic, err = dynamic.NewForConfig(c.config)
	return err
}

func (c *Cluster) writeKubeconfig() error {
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: c.config.Host, CertificateAuthority: c.config.CAFile}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: c.config.BearerToken}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin"}
	config.CurrentContext = "test"
	c.kubeconfig = c.path("kubeconfig")
	return clientcmd.WriteToFile(*config, c.kubeconfig)
}

func (c *Cluster) run(program string, args ...string) (*process, error) {
	p, err := startProcess(c.dir, program, args...)
	if err == nil {
		c.processes = append(c.processes, p)
	}
	return p, err
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

// writeKey generates the key that signs service account tokens.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
