//! The file of a Unix socket: made so that nobody else can connect at any moment, and never in the place of a file that
//! is not ours to take.
//!
//! bind(2) makes the file with a mode that the umask decides. So it is made in a folder of its own, which has mode 0700
//! from its first moment, gets its mode there, and is then linked to its name: link(2) never replaces anything. What
//! has that name already is moved into the folder first, looked at there, where nobody can exchange it any more, and
//! put back unless it is a socket that nobody listens on. There is no moment at which the name leads to a socket with
//! another mode.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use super::listen::BACKLOG;

/// Removes the file when it is dropped, unless another file has its name by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    number: (u64, u64),
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        if number(&self.path).is_ok_and(|found| found == self.number) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn number(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Listens on `path`, whose file gets this mode. A socket that nobody listens on is replaced.
///
/// # Errors
/// There is a file that is no socket, or another process listens; the file is as it was then. Or what the system says.
pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(SocketFile, UnixListener)> {
    // Before anything is touched, so that a socket that is served stays in its place while it is asked.
    replaceable(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let private = tempfile::Builder::new()
        .prefix(".cs")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(folder)?;
    let made = private.path().join("s");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&made)?)?;
    fs::set_permissions(&made, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let number = number(&made)?;
    put(private, path)?;
    Ok((SocketFile { path: path.to_owned(), number }, socket.into()))
}

/// Gives the socket in the private folder its name. What has that name is looked at in the folder first.
fn put(private: TempDir, path: &Path) -> io::Result<()> {
    let (made, old) = (private.path().join("s"), private.path().join("o"));
    match fs::rename(path, &old) {
        Ok(()) => {
            if let Err(error) = replaceable(&old) {
                // It came there after the name was looked at. What cannot go back stays in the folder.
                if name(&old, path).is_err() {
                    let _ = private.keep();
                }
                return Err(error);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    name(&made, path)
}

/// Gives a file a name that no other file has.
fn name(file: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(file, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(served()),
        // Some file systems have no links; there a name that appears in this instant would be replaced.
        Err(_) => fs::rename(file, path),
    }
}

fn served() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")
}

/// Whether nothing is there, or a socket that nobody listens on.
fn replaceable(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose queue is full is alive, and would keep a connection that waits waiting.
    socket.set_nonblocking(true)?;
    let Err(error) = socket.connect(&SockAddr::unix(path)?) else { return Err(served()) };
    match Errno::from_io_error(&error) {
        Some(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        Some(Errno::AGAIN) => Err(served()),
        _ => {
            let why = format!(
                "a socket is there, and whether another process listens on it cannot be told: {error}"
            );
            Err(io::Error::new(error.kind(), why))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::PermissionsExt as _, net::UnixListener},
    };

    use super::{bind, put};

    #[test]
    fn a_file_that_appears_meanwhile_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let _live = UnixListener::bind(at("live")).unwrap();
        fs::write(at("precious"), "x").unwrap();
        for name in ["live", "precious"] {
            let private = tempfile::tempdir_in(folder.path()).unwrap();
            let _made = UnixListener::bind(private.path().join("s")).unwrap();
            assert!(put(private, &at(name)).is_err());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
        assert_eq!(fs::read(at("precious")).unwrap(), b"x");
        assert!(std::os::unix::net::UnixStream::connect(at("live")).is_ok());
    }

    #[test]
    fn a_file_of_the_same_name_that_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (file, listener) = bind(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(bind(&path, 0o600).unwrap_err().to_string().contains("another process"));
        fs::remove_file(&path).unwrap();
        let (other, _listener) = bind(&path, 0o600).unwrap();
        drop((file, listener));
        assert!(path.exists(), "it is the other's");
        drop(other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }
}
