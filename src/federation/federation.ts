import type { RegistrarStatus } from '../admin-api.ts'
import type { Caller } from '../caller/caller.ts'
import { ERRORS } from '../error-table.ts'
import type { MetabindError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { type EnrolDeps, type Enrolled, enrol } from './enrol.ts'
import { exchange } from './exchange.ts'
import { type FleetTokens, type FleetTokensDeps, fleetTokens } from './fleet-tokens.ts'
import { type Membership, type MembershipDeps, membership, type Standing } from './membership.ts'
import { type EnrolmentRecord, readEnrolmentRecord, writeEnrolmentRecord } from './record-file.ts'
import { openRegistrarHttp, type RegistrarPlace } from './registrar-http.ts'

/** What the agent has of the registrar of its fleet: it is known there, and its callers get tokens. */
export interface Federation {
  /** The registrar's own name. */
  readonly url: string
  readonly tokens: FleetTokens
  readonly standing: Standing
  status(): RegistrarStatus
  start(): void
  /** Something says that this may be another machine than it was. */
  identityChanged(): void
  end(): void
}

export interface FederationDeps
  extends Omit<EnrolDeps, 'url' | 'open'>,
    Pick<FleetTokensDeps, 'onAnswer' | 'requireExchange' | 'clockMs'>,
    Pick<MembershipDeps, 'onStanding' | 'onAttempt' | 'random'> {
  readonly place: RegistrarPlace
  readonly stateDirectory: string
  /** @throws MetabindError AGENT_STOPPED while this may be another machine than it says */
  readonly requireRunning: () => void
  /** An identity token for the registrar, in the name of who asks. @throws MetabindError LIMIT_SIGNATURES, TPM_… */
  readonly identityToken: (caller: Caller) => Promise<Secret<string>>
  /** Told of a record that cannot be read or written: the next enrolment shows an older generation, then. */
  readonly onRecord: (problem: unknown) => void
}

/** Puts it together. Nothing is asked of anybody before `start`. */
export function federation(deps: FederationDeps): Federation {
  const { place, nowMs } = deps
  const ending = new AbortController()
  const open = () => openRegistrarHttp(place, ending.signal)
  const member = membership({
    enrol: async (generation) => {
      deps.requireRunning()
      return enrol({ ...deps, url: place.url, open }, generation)
    },
    kept: keptRecord(deps),
    keep: (enrolled) => keepRecord(deps, enrolled),
    onStanding: (standing) => {
      if (standing.is === 'refused') tokens.forget()
      deps.onStanding(standing)
    },
    onAttempt: deps.onAttempt,
    nowMs,
    random: deps.random,
  })
  const tokens = fleetTokens({
    ...deps,
    standing: () => member.standing,
    nextAttemptSeconds: () => Math.max(1, Math.ceil((member.nextAtMs - nowMs()) / 1000)),
    exchange: async (asked) => {
      const subject = await deps.identityToken(asked.caller)
      using http = open()
      return await exchange(http, subject, asked)
    },
    onRefused: (reason) => member.refused(reason),
  })
  return {
    url: place.url,
    tokens,
    get standing() {
      return member.standing
    },
    status: () => statusOf(place.url, member),
    start: member.start,
    identityChanged: member.enrolAgain,
    end: () => {
      member.end()
      ending.abort()
      tokens.forget()
    },
  }
}

function keptRecord(deps: FederationDeps): EnrolmentRecord | undefined {
  try {
    return readEnrolmentRecord(deps.stateDirectory, { url: deps.place.url, iid: deps.iid })
  } catch (error) {
    deps.onRecord(error)
    return undefined
  }
}

/** A disk that is full stops nobody. */
function keepRecord(deps: FederationDeps, enrolled: Enrolled): void {
  const { subject, generation, expiresAtMs } = enrolled
  const record = { url: deps.place.url, iid: deps.iid, subject, generation, expiresAtMs }
  try {
    writeEnrolmentRecord(deps.stateDirectory, record)
  } catch (error) {
    deps.onRecord(error)
  }
}

function statusOf(url: string, { standing, problem, nextAtMs }: Membership): RegistrarStatus {
  const known = 'subject' in standing ? standing : undefined
  return {
    url,
    state: standing.is,
    ...(known === undefined
      ? {}
      : { subject: known.subject, expires: new Date(known.expiresAtMs).toISOString() }),
    ...(problem === undefined ? {} : { problem: problemStatus(problem) }),
    next: new Date(nextAtMs).toISOString(),
  }
}

function problemStatus({ code, message }: MetabindError) {
  return { code, sentence: message, remedy: ERRORS[code].remedy }
}
