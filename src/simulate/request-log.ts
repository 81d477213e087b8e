/** What clients sent, so that tests can look at it. Bounded: a simulator may run for months. */

const MAX_REQUESTS = 10_000

export interface RecordedRequest {
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
  /** The status that was sent; undefined before that, and for a fault that sends none. */
  readonly status: number | undefined
}

type OpenRecord = { -readonly [Key in keyof RecordedRequest]: RecordedRequest[Key] }

export interface RequestLog {
  readonly requests: readonly RecordedRequest[]
  /** Records a request; the status is filled in when it is sent. */
  add(request: Omit<RecordedRequest, 'status'>): OpenRecord
}

export function requestLog(): RequestLog {
  const requests: OpenRecord[] = []
  const add = (request: Omit<RecordedRequest, 'status'>): OpenRecord => {
    const record = { ...request, status: undefined }
    if (requests.push(record) > MAX_REQUESTS) requests.shift()
    return record
  }
  return { requests, add }
}
