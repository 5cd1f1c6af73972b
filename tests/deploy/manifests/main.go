// Decode the Kubernetes manifests on standard input strictly into the API's own Go types, and say what does not fit.
//
// A field that the type does not have, one that comes twice, a truth value where text belongs: each is an error, with the
// kind and the name of its object, on standard error; the exit code is then 1. So is a kind that is not in the list.
package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

var types = map[string]func() any{
	"apps/v1 DaemonSet":                               func() any { return &apps.DaemonSet{} },
	"apps/v1 Deployment":                              func() any { return &apps.Deployment{} },
	"apps/v1 StatefulSet":                             func() any { return &apps.StatefulSet{} },
	"batch/v1 CronJob":                                func() any { return &batch.CronJob{} },
	"batch/v1 Job":                                    func() any { return &batch.Job{} },
	"rbac.authorization.k8s.io/v1 ClusterRole":        func() any { return &rbac.ClusterRole{} },
	"rbac.authorization.k8s.io/v1 ClusterRoleBinding": func() any { return &rbac.ClusterRoleBinding{} },
	"v1 ConfigMap":                                    func() any { return &core.ConfigMap{} },
	"v1 ServiceAccount":                               func() any { return &core.ServiceAccount{} },
}

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	wrong := 0
	for _, document := range regexp.MustCompile(`(?m)^---.*$`).Split(string(input), -1) {
		if err := decode(document); err != nil {
			fmt.Fprintln(os.Stderr, err)
			wrong = 1
		}
	}
	os.Exit(wrong)
}

func decode(document string) error {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	var whole any
	if err := yaml.Unmarshal([]byte(document), &whole); err != nil {
		return err
	}
	if whole == nil { // comments alone
		return nil
	}
	if err := yaml.Unmarshal([]byte(document), &head); err != nil {
		return err
	}
	kind := strings.TrimSpace(head.APIVersion + " " + head.Kind)
	object, ok := types[kind]
	if !ok {
		return fmt.Errorf("%s %s: not a kind that is known here", kind, head.Metadata.Name)
	}
	if err := yaml.UnmarshalStrict([]byte(document), object()); err != nil {
		return fmt.Errorf("%s %s: %w", kind, head.Metadata.Name, err)
	}
	return nil
}
