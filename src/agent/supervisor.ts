/** Whom the agent tells how it is: systemd, in service-manager.ts. */
export interface Supervisor {
  /** Tokens are issued and accepted. */
  ready(status: string): void
  /** They are not, or not yet. */
  notReady(status: string): void
}
