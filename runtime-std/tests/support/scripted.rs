//! A target of a few lines on a loopback socket, that does what a test says.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use iscsi_core::config::{SecurityStart, Timeouts};
use iscsi_core::wire::{
    BHS_LEN, Bhs, InitiatorPdu, LoginOutcome, LoginProgress, LoginRequest, LoginResponse,
    LoginStatus, LogoutReason, LogoutResponse, LogoutResponseCode, Stage, data_segment_length,
};
use iscsi_core::{CmdSn, Config, ConfigBuilder, IscsiName, Portal, StatSn};

/// Serves each connection, in its order, with the next of the closures.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

type Service = Box<dyn FnOnce(Peer) -> io::Result<()> + Send>;

impl Server {
    pub(crate) fn start(services: Vec<Service>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            for service in services {
                let (stream, _) = listener.accept().unwrap();
                stream.set_nodelay(true).unwrap();
                // Nothing in a test takes longer; a reader that waits for ever would hang the test.
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                // The initiator may close at any time.
                let _ = service(Peer { stream, stat_sn: StatSn(1), exp_cmd_sn: CmdSn(0) });
            }
        });
        Self { address, thread: Some(thread) }
    }

    /// One connection.
    pub(crate) fn once(service: impl FnOnce(Peer) -> io::Result<()> + Send + 'static) -> Self {
        Self::start(vec![Box::new(service)])
    }

    pub(crate) fn portal(&self) -> Portal {
        self.address.into()
    }

    /// Waits until all connections were served.
    pub(crate) fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The target's end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    stat_sn: StatSn,
    pub(crate) exp_cmd_sn: CmdSn,
}

impl Peer {
    /// The next PDU, without its data.
    pub(crate) fn read(&mut self) -> io::Result<(Bhs, InitiatorPdu)> {
        let mut bhs = [0; BHS_LEN];
        self.stream.read_exact(&mut bhs)?;
        let padded = data_segment_length(&bhs).next_multiple_of(4);
        io::copy(&mut (&self.stream).take(padded.into()), &mut io::sink())?;
        let pdu = InitiatorPdu::parse(&bhs).map_err(io::Error::other)?;
        Ok((bhs, pdu))
    }

    pub(crate) fn write(&mut self, bhs: &Bhs, data: &[u8]) -> io::Result<()> {
        let mut pdu = bhs.to_vec();
        pdu.extend_from_slice(data);
        pdu.resize(pdu.len().next_multiple_of(4), 0);
        self.stream.write_all(&pdu)
    }

    pub(crate) fn next_stat_sn(&mut self) -> StatSn {
        let stat_sn = self.stat_sn;
        self.stat_sn = stat_sn.next();
        stat_sn
    }

    pub(crate) fn read_login(&mut self) -> io::Result<LoginRequest> {
        let (_, InitiatorPdu::LoginRequest(request)) = self.read()? else {
            return Err(io::Error::other("no login"));
        };
        self.exp_cmd_sn = request.cmd_sn;
        Ok(request)
    }

    /// Accepts the login of an initiator that goes straight to the end.
    pub(crate) fn log_in(&mut self) -> io::Result<()> {
        let request = self.read_login()?;
        let outcome = LoginOutcome::Proceed(LoginProgress {
            current_stage: Stage::LoginOperationalNegotiation,
            next_stage: Some(Stage::FullFeaturePhase),
            is_continued: false,
            stat_sn: self.next_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        });
        self.answer_login(
            &request,
            outcome,
            b"TargetPortalGroupTag=1\0MaxRecvDataSegmentLength=262144\0",
        )
    }

    /// Refuses the login, or sends the initiator elsewhere.
    pub(crate) fn refuse(&mut self, status: LoginStatus, text: &[u8]) -> io::Result<()> {
        let request = self.read_login()?;
        self.answer_login(&request, LoginOutcome::Refused(status), text)
    }

    fn answer_login(
        &mut self,
        request: &LoginRequest,
        outcome: LoginOutcome,
        text: &[u8],
    ) -> io::Result<()> {
        let mut bhs = [0; BHS_LEN];
        LoginResponse {
            outcome,
            version_max: 0,
            version_active: 0,
            data_segment_length: text.len() as u32,
            isid: request.isid,
            tsih: 1,
            initiator_task_tag: request.initiator_task_tag,
        }
        .emit(&mut bhs);
        self.write(&bhs, text)
    }

    pub(crate) fn max_cmd_sn(&self) -> CmdSn {
        CmdSn(self.exp_cmd_sn.0.wrapping_add(64))
    }

    /// Reads until the initiator closes, and answers nothing but a logout.
    pub(crate) fn be_silent(&mut self) -> io::Result<()> {
        loop {
            if let (_, InitiatorPdu::LogoutRequest(request)) = self.read()? {
                assert!(matches!(request.reason, LogoutReason::CloseSession));
                let mut bhs = [0; BHS_LEN];
                LogoutResponse {
                    response: LogoutResponseCode::Success,
                    initiator_task_tag: request.initiator_task_tag,
                    stat_sn: self.next_stat_sn(),
                    exp_cmd_sn: self.exp_cmd_sn,
                    max_cmd_sn: self.max_cmd_sn(),
                    time2wait: 0,
                    time2retain: 0,
                }
                .emit(&mut bhs);
                self.write(&bhs, &[])?;
            }
        }
    }
}

/// A login of one request, and short time limits.
pub(crate) fn config() -> ConfigBuilder {
    let name = |name| IscsiName::new(name).unwrap();
    let limit = Duration::from_millis(300);
    Config::normal(name("iqn.2001-04.com.example:host"), name("iqn.2001-04.com.example:disk"))
        .security_start(SecurityStart::Skip)
        .timeouts(Timeouts {
            connect: limit,
            login: limit,
            command: Some(limit),
            task_management: limit,
            text: limit,
            logout: limit,
            nop_interval: None,
            nop_timeout: limit,
            progress: limit,
            verify: limit,
        })
}
