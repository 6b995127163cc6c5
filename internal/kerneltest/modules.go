package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// wantedModules are what the datapath and its tests need. Cloud kernels have
// them as modules, and nobody in the image loads them on demand.
var wantedModules = []string{"veth", "bridge", "sch_ingress", "cls_bpf", "inet_diag", "tcp_diag", "udp_diag", "tun"}

// moduleTree is the modules of one kernel by name.
type moduleTree struct {
	paths   map[string]string
	builtin map[string]bool
}

// moduleName is a module's name as the kernel writes it.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func readModules(root string) (moduleTree, error) {
	t := moduleTree{paths: map[string]string{}, builtin: map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && strings.Contains(entry.Name(), ".ko") {
			t.paths[moduleName(path)] = path
		}
		return err
	})
	if err != nil {
		return t, err
	}
	builtin, err := os.ReadFile(filepath.Join(root, "modules.builtin"))
	if err != nil {
		return t, err
	}
	for _, path := range strings.Fields(string(builtin)) {
		t.builtin[moduleName(path)] = true
	}
	return t, nil
}

// module is one that has to be inserted.
type module struct {
	name    string
	content []byte
}

// load returns the wanted modules and what they depend on, in the order in
// which they can be inserted.
func (t moduleTree) load(wanted []string) ([]module, error) {
	var ordered []module
	content := map[string][]byte{}
	names, err := order(wanted, func(name string) ([]string, error) {
		if t.builtin[name] {
			return nil, nil
		}
		path, ok := t.paths[name]
		if !ok {
			return nil, fmt.Errorf("the kernel has no module %s", name)
		}
		raw, err := readModule(path)
		if err != nil {
			return nil, err
		}
		content[name] = raw
		return dependencies(raw)
	})
	for _, name := range names {
		if raw, ok := content[name]; ok {
			ordered = append(ordered, module{name, raw})
		}
	}
	return ordered, err
}

// order sorts names so that each comes after those that it depends on.
func order(wanted []string, dependsOn func(string) ([]string, error)) ([]string, error) {
	const visiting, done = 1, 2
	state := map[string]int{}
	var ordered []string
	var visit func(string) error
	visit = func(name string) error {
		switch state[name] {
		case done:
			return nil
		case visiting:
			return fmt.Errorf("the module %s depends on itself", name)
		}
		state[name] = visiting
		needs, err := dependsOn(name)
		if err != nil {
			return err
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		state[name] = done
		ordered = append(ordered, name)
		return nil
	}
	for _, name := range wanted {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

func readModule(path string) ([]byte, error) {
	if strings.HasSuffix(path, ".ko") {
		return os.ReadFile(path)
	}
	if !strings.HasSuffix(path, ".xz") {
		return nil, fmt.Errorf("%s is compressed in a way that is not known", path)
	}
	raw, err := exec.Command("xz", "-dc", path).Output()
	if err != nil {
		return nil, fmt.Errorf("xz -dc %s: %w", path, err)
	}
	return raw, nil
}

// dependencies reads the names of the modules that a module needs.
func dependencies(raw []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("a module without .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	return parseDepends(info), nil
}

// parseDepends reads `depends=` of a .modinfo section: strings that end in NUL.
func parseDepends(info []byte) []string {
	for _, entry := range bytes.Split(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(entry, []byte("depends=")); ok {
			return strings.FieldsFunc(strings.ReplaceAll(string(list), "-", "_"), func(r rune) bool { return r == ',' })
		}
	}
	return nil
}
