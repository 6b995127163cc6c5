package engine

// The kernel takes a grace period of RCU, about 10 ms, to attach a program. A
// bridge's program sees what the host sends to endpoints; so a network is there
// without it, but has no endpoint before it is attached.

// attachLater notes that a network's bridge has no program yet.
func (e *Engine) attachLater(n Network) error {
	e.unattached[n.ID] = true
	return nil
}

// attachBridge attaches the program to a network's bridge.
func (e *Engine) attachBridge(n Network) error {
	ifindex, err := e.existing(n.Bridge)
	if err != nil {
		return err
	}
	if err := e.datapath.AttachBridge(n.Bridge, ifindex); err != nil {
		return err
	}
	delete(e.unattached, n.ID)
	return nil
}

// ensureAttached is what an endpoint needs of its network.
func (e *Engine) ensureAttached(n Network) error {
	if !e.unattached[n.ID] {
		return nil
	}
	return e.attachBridge(n)
}

func (e *Engine) detachBridge(n Network) error {
	delete(e.unattached, n.ID)
	return detachAdopted(n.Owned, n.Bridge, e.datapath.DetachBridge)
}

// detachAdopted detaches the program of a device that stays. That takes a grace
// period too; with a device of ours the program goes by itself.
func detachAdopted(owned bool, device string, detach func(device string) error) error {
	if owned {
		return nil
	}
	return detach(device)
}
