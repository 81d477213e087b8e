import { knowsTcpSockets } from 'metabind-linux'
import { causeChain } from '../errors.ts'

/**
 * Why the kernel does not say whose a TCP connection is, undefined if it does. What answers may be a module of
 * it, which is loaded when somebody first asks: root may where the agent is not let.
 */
export function whyNoSockets(): string | undefined {
  try {
    return knowsTcpSockets() ? undefined : 'The kernel has no module tcp_diag, or may not load it.'
  } catch (error) {
    return `The kernel cannot be asked whose a TCP connection is (${causeChain(error)}).`
  }
}
