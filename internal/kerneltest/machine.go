package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// machine is a virtual machine of QEMU. KVM is not used: it is missing where
// most of these tests run.
type machine struct {
	kernel, initrd string
	console        string // where the kernel's own messages go
}

// cpu has what QEMU can, but for moves of bytes as one instruction: the kernel
// would take them for fast, and they are done byte by byte.
const cpu = "max,-erms,-fsrm"

func (m machine) command(ctx context.Context, serials []string, options string) *exec.Cmd {
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none",
		"-accel", "tcg,thread=multi", "-cpu", cpu, "-smp", "2", "-m", "2048",
		"-kernel", m.kernel, "-initrd", m.initrd,
		"-append", "console=ttyS0 panic=-1 mitigations=off random.trust_cpu=on " + options,
	}
	for _, serial := range serials {
		args = append(args, "-serial", serial)
	}
	return exec.CommandContext(ctx, "qemu-system-x86_64", args...)
}

// boot runs the machine to its end; the suites' output goes to w.
func (m machine) boot(ctx context.Context, w io.Writer) error {
	cmd := m.command(ctx, []string{"file:" + m.console, "stdio"}, "")
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("the machine did not end in time")
	}
	return err
}

// shell gives the terminal to a shell in the machine.
func (m machine) shell() error {
	cmd := m.command(context.Background(), []string{"mon:stdio"}, "quiet kerneltest.shell")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
