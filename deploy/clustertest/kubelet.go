package clustertest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// nodes maps the names of the simulated nodes to their zones.
var nodes = map[string]string{"a1": "a", "a2": "a", "b1": "b", "b2": "b"}

// A Kubelet simulates all nodes. It runs no containers: it reports scheduled pods as running, or
// those of Jobs as succeeded, as soon as the Secrets, ConfigMaps and keys that they refer to
// exist.
type Kubelet struct {
	client kubernetes.Interface
	done   sync.WaitGroup
	pods   atomic.Uint32 // number of addresses assigned

	mu     sync.Mutex
	plight map[string]Plight // by namespace
}

// A Plight is how the pods of a namespace behave.
type Plight string

const (
	Well    Plight = ""        // they run
	Failing Plight = "failing" // those of Jobs fail
	Slow    Plight = "slow"    // those of Deployments never become ready
)

// Let sets how new pods of the namespace behave.
func (k *Kubelet) Let(namespace string, plight Plight) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.plight[namespace] = plight
}

func (k *Kubelet) plightOf(namespace string) Plight {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.plight[namespace]
}

// startKubelet creates the nodes and simulates them until ctx is done. wait blocks until it has
// stopped.
func startKubelet(ctx context.Context, client kubernetes.Interface) (*Kubelet, error) {
	k := &Kubelet{client: client, plight: map[string]Plight{}}
	for name, zone := range nodes {
		if err := k.addNode(ctx, name, zone); err != nil {
			return nil, err
		}
	}
	// Each pod is checked again every second, because what it waits for may exist now.
	factory := informers.NewSharedInformerFactory(client, time.Second)
	pods := factory.Core().V1().Pods()
	queue := workqueue.NewTyped[cache.ObjectName]() // of pods to check, each at most once
	add := func(object any) {
		if name, err := cache.ObjectToName(object); err == nil {
			queue.Add(name)
		}
	}
	if _, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, object any) { add(object) },
	}); err != nil {
		return nil, err
	}
	for range workers {
		k.done.Go(func() { k.work(ctx, queue, pods.Lister()) })
	}
	factory.Start(ctx.Done())
	k.done.Go(func() {
		<-ctx.Done()
		queue.ShutDown()
		factory.Shutdown()
	})
	return k, nil
}

// workers is how many pods are checked concurrently, as nodes work independently.
const workers = 8

func (k *Kubelet) work(ctx context.Context, queue workqueue.TypedInterface[cache.ObjectName], pods listers.PodLister) {
	for {
		name, shutdown := queue.Get()
		if shutdown {
			return
		}
		if pod, err := pods.Pods(name.Namespace).Get(name.Name); err == nil { // else it is gone
			_ = k.act(ctx, pod) // retried a second later
		}
		queue.Done(name)
	}
}

func (k *Kubelet) wait() { k.done.Wait() }

func (k *Kubelet) addNode(ctx context.Context, name, zone string) error {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods: resource.MustParse("500"),
	}
	_, err := k.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname: name, corev1.LabelTopologyZone: zone, corev1.LabelOSStable: "linux",
			corev1.LabelArchStable: "amd64",
		}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue,
				LastHeartbeatTime: metav1.Now()}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// Admission taints new nodes as not ready. A patch, unlike an update, cannot conflict with writes
	// of controllers.
	untaint := []byte(`{"spec":{"taints":null}}`)
	_, err = k.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, untaint, metav1.PatchOptions{})
	return err
}

func (k *Kubelet) act(ctx context.Context, pod *corev1.Pod) error {
	plight := k.plightOf(pod.Namespace)
	switch {
	case pod.DeletionTimestamp != nil:
		if *pod.DeletionGracePeriodSeconds == 0 {
			return nil // its finalizers have not run yet
		}
		err := k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: new(int64), Preconditions: &metav1.Preconditions{UID: &pod.UID},
		})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err
	case pod.Spec.NodeName == "" || pod.Status.Phase != corev1.PodPending:
		return nil
	case plight == Slow && pod.Spec.RestartPolicy == corev1.RestartPolicyAlways:
		return nil
	}
	pod = pod.DeepCopy() // pod belongs to the informer
	before := pod.DeepCopy()
	if err := k.supplied(ctx, pod); err != nil {
		waits(pod, err)
	} else {
		k.runs(pod, plight)
	}
	return k.report(ctx, before, pod)
}

// report writes the status, unless the pod still waits for the same reason.
func (k *Kubelet) report(ctx context.Context, before, pod *corev1.Pod) error {
	if state := waiting(before); state != "" && state == waiting(pod) {
		return nil
	}
	pod.ResourceVersion = "" // overwrites concurrent changes of the status
	_, err := k.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// waits sets the status of a pod whose containers cannot be created.
func waits(pod *corev1.Pod, why error) {
	pod.Status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError",
				Message: why.Error()}},
		})
	}
}

// waiting returns why the pod waits, or "".
func waiting(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Waiting != nil && status.State.Waiting.Message != "" {
			return status.State.Waiting.Message
		}
	}
	return ""
}

// runs sets the status of a pod that has an address and whose containers run, or have ended if the
// pod is that of a Job.
func (k *Kubelet) runs(pod *corev1.Pod, plight Plight) {
	n := k.pods.Add(1)
	now := metav1.Now()
	address := fmt.Sprintf("10.%d.%d.%d", 128+n>>16&0x7f, n>>8&0xff, n&0xff)
	pod.Status.PodIP, pod.Status.PodIPs = address, []corev1.PodIP{{IP: address}}
	pod.Status.StartTime = &now
	state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
	pod.Status.Phase = corev1.PodRunning
	ready := true
	if pod.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		ended := &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}
		pod.Status.Phase, ready = corev1.PodSucceeded, false
		if plight == Failing {
			ended.Reason, ended.ExitCode = "Error", 1
			pod.Status.Phase = corev1.PodFailed
		}
		state = corev1.ContainerState{Terminated: ended}
	}
	pod.Status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, State: state, Ready: ready, Started: &ready,
		})
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status := corev1.ConditionTrue
		if !ready && kind != corev1.PodInitialized {
			status = corev1.ConditionFalse
		}
		pod.Status.Conditions = append(pod.Status.Conditions,
			corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: now})
	}
}
