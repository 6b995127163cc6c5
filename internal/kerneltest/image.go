package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sluice-net/sluice/internal/companion"
)

//go:embed init.sh
var initScript []byte

// programs are what the tests call, beside busybox.
var programs = []string{"ip", "nsenter", "curl"}

// buildAll builds sluice, its companions and the test binaries into dir, static.
func buildAll(dir string) error {
	builds := [][]string{{"build", "-o", dir + "/", "./cmd/..."}}
	for _, s := range suites {
		builds = append(builds, []string{"test", "-c", "-o", filepath.Join(dir, s.name+".test"), s.pkg})
	}
	for _, args := range builds {
		args = append([]string{args[0], "-trimpath", "-buildvcs=false", "-ldflags=-s -w"}, args[1:]...)
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// writeImage writes the initramfs of a kernel.
func writeImage(path string, k kernel, built string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	a := newArchive(file)
	for _, dir := range []string{"proc", "sys", "dev", "tmp", "run", "root", "var", "bin", "etc"} {
		a.dir("/" + dir)
	}
	a.file("/init", 0o755, initScript)
	a.file("/etc/passwd", 0o644, []byte("root:x:0:0::/root:/bin/sh\n"))
	a.file("/etc/group", 0o644, []byte("root:x:0:\n"))
	a.file("/etc/hosts", 0o644, []byte("127.0.0.1 localhost\n"))
	a.file("/suites", 0o644, suiteList())
	if err := errors.Join(addModules(a, k), addPrograms(a), addBuilt(a, built)); err != nil {
		return err
	}
	if err := a.close(); err != nil {
		return err
	}
	return file.Close()
}

// suiteList has a line for each suite: its name, its package's folder and which
// of its tests are run.
func suiteList() []byte {
	var list bytes.Buffer
	for _, s := range suites {
		fmt.Fprintln(&list, s.name, strings.TrimPrefix(s.pkg, "."), s.run)
	}
	return list.Bytes()
}

func addModules(a *archive, k kernel) error {
	tree, err := readModules(k.modules)
	if err != nil {
		return err
	}
	modules, err := tree.load(wantedModules)
	if err != nil {
		return err
	}
	for i, m := range modules { // the name sorts in the order of insertion
		a.file(fmt.Sprintf("/modules/%02d-%s.ko", i, m.name), 0o644, m.content)
	}
	return nil
}

// addBuilt adds the binaries, and the headers that some tests read, where the
// tests look for them.
func addBuilt(a *archive, built string) error {
	sources, err := filepath.Glob("bpf/*.h")
	if err != nil {
		return err
	}
	for _, s := range suites {
		a.dir(strings.TrimPrefix(s.pkg, "."))
		if err := addFile(a, filepath.Join(built, s.name+".test"), "/built/"+s.name+".test"); err != nil {
			return err
		}
	}
	for _, source := range sources {
		if err := addFile(a, source, "/"+source); err != nil {
			return err
		}
	}
	var errs []error
	for _, name := range []string{"sluice", companion.Daemon, companion.Shim} {
		errs = append(errs, addFile(a, filepath.Join(built, name), "/built/"+name))
	}
	return errors.Join(errs...)
}

// addPrograms adds busybox under all its names, and the programs with their
// shared libraries; these come first, so that their names are not busybox's.
func addPrograms(a *archive) error {
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		libraries, err := output("ldd", path)
		if err != nil {
			return err
		}
		for _, library := range parseLdd(libraries) {
			if err := addFile(a, library, library); err != nil {
				return err
			}
		}
		if err := addFile(a, path, "/bin/"+name); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	if err := addFile(a, busybox, "/bin/busybox"); err != nil {
		return err
	}
	applets, err := output(busybox, "--list")
	for _, applet := range strings.Fields(applets) {
		a.symlink("/bin/"+applet, "busybox")
	}
	return err
}

var libraryPath = regexp.MustCompile(`(?m)(/\S+) \(0x[0-9a-f]+\)$`)

// parseLdd returns the paths of the libraries in what ldd prints.
func parseLdd(listing string) []string {
	var paths []string
	for _, match := range libraryPath.FindAllStringSubmatch(listing, -1) {
		paths = append(paths, match[1])
	}
	return paths
}

// addFile adds a file of this machine; symbolic links are followed.
func addFile(a *archive, from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	a.file(to, info.Mode(), content)
	return nil
}
