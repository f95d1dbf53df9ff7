package clustertest

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Files writes the Secrets and ConfigMaps that a container mounts below root, laid out as a
// kubelet does: the files are in ..data, so that they can be replaced atomically, with symbolic
// links to them.
func (k *Kubelet) Files(ctx context.Context, pod *corev1.Pod, container corev1.Container, root string) error {
	for _, mount := range container.VolumeMounts {
		for _, volume := range pod.Spec.Volumes {
			if volume.Name != mount.Name {
				continue
			}
			files, err := k.contents(ctx, pod.Namespace, volume.VolumeSource)
			if err != nil {
				return err
			}
			if err := place(filepath.Join(root, mount.MountPath), files); err != nil {
				return err
			}
		}
	}
	return nil
}

// contents returns the files of a volume by path.
func (k *Kubelet) contents(ctx context.Context, namespace string,
	volume corev1.VolumeSource) (map[string]string, error) {
	r, items, names := mounted(namespace, volume)
	if !names {
		return nil, nil
	}
	if err := k.has(ctx, r, keys(items)); err != nil {
		return nil, err
	}
	data, err := k.data(ctx, r)
	if err != nil || len(items) == 0 {
		return data, err
	}
	files := map[string]string{}
	for _, item := range items {
		if text, found := data[item.Key]; found {
			files[item.Path] = text
		}
	}
	return files, nil
}

func place(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for path, text := range files {
		file := filepath.Join(dir, "..data", filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		top, _, _ := strings.Cut(path, "/")
		if err := os.Symlink(filepath.Join("..data", top), filepath.Join(dir, top)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// A Container is a container of the release with what it would be started with.
type Container struct {
	Pod, Name   string
	Args        []string
	Environment map[string]string
	Root        string // folder with the mounted files
}

// Containers returns the containers of the running pods, each with a folder below dir. In
// environment variables, mounted paths are replaced by the paths below Root.
func (r *Release) Containers(ctx context.Context, dir string) ([]Container, error) {
	pods, err := r.Client.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var containers []Container
	for _, pod := range pods.Items {
		if pod.Status.Phase != corev1.PodRunning {
			continue
		}
		for _, container := range pod.Spec.Containers {
			root := filepath.Join(dir, pod.Name, container.Name)
			if err := os.MkdirAll(root, 0o755); err != nil { // it may have nothing mounted
				return nil, err
			}
			if err := r.Kubelet.Files(ctx, &pod, container, root); err != nil {
				return nil, err
			}
			environment, err := r.Kubelet.Environment(ctx, &pod, container)
			if err != nil {
				return nil, err
			}
			for name, value := range environment {
				for _, mount := range container.VolumeMounts {
					if value == mount.MountPath || strings.HasPrefix(value, mount.MountPath+"/") {
						environment[name] = filepath.Join(root, value)
					}
				}
			}
			containers = append(containers, Container{pod.Name, container.Name, container.Args, environment, root})
		}
	}
	return containers, nil
}
