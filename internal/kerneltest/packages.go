package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernel is an unpacked package of a kernel.
type kernel struct {
	pkg, version string
	root         string // where it is unpacked
	vmlinuz      string
	modules      string // its lib/modules/RELEASE
}

// fetchKernel finds the newest cloud kernel of a series such as 6.1 among
// Debian's packages, and downloads and unpacks it unless that was done before.
// Nothing is installed.
func fetchKernel(cache, series string) (kernel, error) {
	listing, err := output("apt-cache", "pkgnames", "linux-image-"+series)
	if err != nil {
		return kernel{}, err
	}
	pkg := newestPackage(series, strings.Fields(listing))
	if pkg == "" {
		return kernel{}, fmt.Errorf("no package linux-image-%s…-cloud-amd64 is known: try apt-get update", series)
	}
	shown, err := output("apt-cache", "show", "--no-all-versions", pkg)
	if err != nil {
		return kernel{}, err
	}
	k := kernel{pkg: pkg, version: field(shown, "Version")}
	k.root = filepath.Join(cache, pkg+"_"+k.version)
	if _, err := os.Stat(k.root); err != nil {
		if err := unpack(cache, k); err != nil {
			return kernel{}, err
		}
	}
	images, _ := filepath.Glob(filepath.Join(k.root, "boot", "vmlinuz-*"))
	modules, _ := filepath.Glob(filepath.Join(k.root, "lib", "modules", "*"))
	if len(images) != 1 || len(modules) != 1 {
		return kernel{}, fmt.Errorf("%s holds %d kernels and %d trees of modules, not one of each", pkg, len(images), len(modules))
	}
	k.vmlinuz, k.modules = images[0], modules[0]
	return k, nil
}

// unpack publishes the folder by a rename, so that half of one is never used.
func unpack(cache string, k kernel) error {
	dir, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	download := exec.Command("apt-get", "-o", "APT::Sandbox::User=root", "-q", "download", k.pkg+"="+k.version)
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("download %s: %w\n%s", k.pkg, err, out)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	if len(files) != 1 {
		return fmt.Errorf("apt-get download %s left %d files", k.pkg, len(files))
	}
	tree := filepath.Join(dir, "tree")
	if _, err := output("dpkg-deb", "-x", files[0], tree); err != nil {
		return err
	}
	return os.Rename(tree, k.root)
}

// newestPackage picks the newest signed cloud kernel of a series, or "".
func newestPackage(series string, names []string) string {
	wanted := regexp.MustCompile(`^linux-image-` + regexp.QuoteMeta(series) + `\.[0-9].*-cloud-amd64$`)
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !wanted.MatchString(name) })
	if len(names) == 0 {
		return ""
	}
	return slices.MaxFunc(names, compareNatural)
}

var digits = regexp.MustCompile(`[0-9]+|[^0-9]+`)

// compareNatural compares names, runs of digits by their value.
func compareNatural(a, b string) int {
	return slices.CompareFunc(digits.FindAllString(a, -1), digits.FindAllString(b, -1), func(a, b string) int {
		m, errM := strconv.Atoi(a)
		n, errN := strconv.Atoi(b)
		if errM == nil && errN == nil {
			return cmp.Compare(m, n)
		}
		return cmp.Compare(a, b)
	})
}

// field is the value of a field in a package's description.
func field(description, name string) string {
	for line := range strings.Lines(description) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// output runs a command and returns its standard output.
func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		var stderr []byte
		if exit, ok := err.(*exec.ExitError); ok {
			stderr = exit.Stderr
		}
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr)
	}
	return string(out), nil
}
