import { activate } from './activate.ts'
import { audit } from './audit.ts'
import { config } from './config.ts'
import { credential } from './credential.ts'
import { doctor } from './doctor.ts'
import { evidence } from './evidence.ts'
import { exec } from './exec.ts'
import { explain as explainPolicy } from './explain.ts'
import { federate } from './federate.ts'
import { get } from './get.ts'
import { identity } from './identity.ts'
import { inspect } from './inspect.ts'
import { lockdown } from './lockdown.ts'
import { observe } from './observe.ts'
import { policy } from './policy.ts'
import { proof } from './proof.ts'
import { revoke } from './revoke.ts'
import { simulate } from './simulate.ts'
import { status } from './status.ts'
import { token } from './token.ts'
import { ui } from './ui.ts'
import type { Verb } from './verb.ts'
import { verify } from './verify.ts'

/** Every verb, as `metabind --help` lists them. */
export const VERBS: Readonly<Record<string, Verb>> = {
  status,
  token,
  get,
  credential,
  exec,
  inspect,
  revoke,
  identity,
  proof,
  federate,
  evidence,
  activate,
  verify,
  explain: explainPolicy,
  policy,
  audit,
  lockdown,
  observe,
  ui,
  doctor,
  config,
  simulate,
}
