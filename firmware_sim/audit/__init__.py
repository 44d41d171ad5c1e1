"""
Checks what must hold after every step of a running school, in increments.

A step is one entry of one of five records that nobody edits: what happened to the devices (`firmware_sim.world_log`),
what passed between gateways and broker (`firmware_sim.scenarios.uplink`), the ledger's transfers by number, the changes
of rows that are replaced (sessions, cursors, authorizations), and the changes of a provider's orders. Because each
transfer, message and device step is there however long ago the last look was, no step is merged with the next: each is
applied to the state it met, and everything it can have changed is judged before the next is applied.
"""
